//! Removing what both servers wrote: hundreds of thousands of small files, most of them the peer's.
//!
//! One after the other that takes longer than the benchmark on a disk that is slow to confirm; side by side the
//! waiting overlaps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Removals under way at the same time.
const THREADS: usize = 8;

/// Empties the directory. Symbolic links are removed and not followed.
pub fn empty(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    // Level by level, so that a directory is empty when its turn comes.
    let mut levels = vec![vec![directory.to_owned()]];
    while let Some(level) = levels.last() {
        let mut below = Vec::new();
        for parent in level {
            for entry in fs::read_dir(parent)? {
                let entry = entry?;
                let list = if entry.file_type()?.is_dir() { &mut below } else { &mut files };
                list.push(entry.path());
            }
        }
        if below.is_empty() {
            break;
        }
        levels.push(below);
    }
    each(&files, |file| fs::remove_file(file))?;
    for level in levels[1..].iter().rev() {
        each(level, |directory| fs::remove_dir(directory))?;
    }
    Ok(())
}

fn each(paths: &[PathBuf], remove: impl Fn(&Path) -> io::Result<()> + Sync) -> io::Result<()> {
    let share = paths.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        let remove = &remove;
        let threads: Vec<_> = paths
            .chunks(share)
            .map(|paths| scope.spawn(move || paths.iter().try_for_each(|path| remove(path))))
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(removed) => removed,
            Err(_) => Err(io::Error::other("a thread that removes files panicked")),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_and_nothing_outside_goes() {
        let (inside, outside) =
            (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
        let kept = outside.path().join("kept");
        fs::write(&kept, "kept").expect("writable");
        for number in 0..50 {
            let directory = inside.path().join(format!("{}/{number}/deep", number % 7));
            fs::create_dir_all(&directory).expect("writable");
            fs::write(directory.join("file"), "bytes").expect("writable");
        }
        std::os::unix::fs::symlink(outside.path(), inside.path().join("0/link")).expect("writable");
        empty(inside.path()).expect("ours to remove");
        assert_eq!(fs::read_dir(inside.path()).expect("it stays").count(), 0);
        assert!(kept.exists());
    }
}
