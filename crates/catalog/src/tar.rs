//! Looks for one file in a tar archive that flows by, and keeps nothing else.

use std::io::{self, Write};

const BLOCK: usize = 512;

/// Takes an archive piece by piece. Writing fails as soon as there is no use in more: the file was found, it is too
/// large, or the archive is.
pub(crate) struct FileInTar {
    /// Its name in lower case, in the archive's first directory.
    name: &'static str,
    file_max: usize,
    /// Bytes of the archive that may still come.
    left: u64,
    header: Vec<u8>,
    /// Bytes of the present member that are still to come, with their padding.
    member: u64,
    /// Of these, bytes of the file that is looked for.
    wanted: u64,
    file: Option<Vec<u8>>,
}

impl FileInTar {
    pub fn new(name: &'static str, file_max: usize, archive_max: u64) -> Self {
        let header = Vec::with_capacity(BLOCK);
        Self { name, file_max, left: archive_max, header, member: 0, wanted: 0, file: None }
    }

    /// The file, when all of it was seen.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.wanted == 0 { self.file.take() } else { None }
    }

    fn begin(&mut self) -> io::Result<()> {
        let size = octal(&self.header[124..136])
            .filter(|size| *size < 1 << 40)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let regular = matches!(self.header[156], b'0' | 0);
        if regular && self.file.is_none() && self.is_named() {
            if size > self.file_max as u64 {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            self.file = Some(Vec::new());
            self.wanted = size;
        }
        self.member = size.div_ceil(BLOCK as u64) * BLOCK as u64;
        self.header.clear();
        Ok(())
    }

    fn is_named(&self) -> bool {
        let text = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).to_ascii_lowercase()
        };
        let mut path = text(&self.header[..100]);
        let prefix = text(&self.header[345..500]);
        if &self.header[257..262] == b"ustar" && !prefix.is_empty() {
            path = format!("{prefix}/{path}");
        }
        let path = path.strip_prefix("./").unwrap_or(&path);
        path.split_once('/').is_some_and(|(_, rest)| rest == self.name)
    }
}

impl Write for FileInTar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        self.left = self
            .left
            .checked_sub(rest.len() as u64)
            .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        while !rest.is_empty() {
            if self.file.is_some() && self.wanted == 0 {
                return Err(io::Error::other("found"));
            }
            if self.member > 0 {
                let here = usize::try_from(self.member).unwrap_or(usize::MAX).min(rest.len());
                let mine = usize::try_from(self.wanted).unwrap_or(usize::MAX).min(here);
                if let Some(file) = &mut self.file {
                    file.extend_from_slice(&rest[..mine]);
                }
                self.wanted -= mine as u64;
                self.member -= here as u64;
                rest = &rest[here..];
            } else {
                let here = (BLOCK - self.header.len()).min(rest.len());
                self.header.extend_from_slice(&rest[..here]);
                rest = &rest[here..];
                if self.header.len() == BLOCK {
                    self.begin()?;
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member of an archive: header, content, padding.
    pub(crate) fn member(path: &str, content: &[u8]) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..path.len()].copy_from_slice(path.as_bytes());
        let size = format!("{:011o}", content.len());
        block[124..135].copy_from_slice(size.as_bytes());
        block[156] = b'0';
        block.extend_from_slice(content);
        block.resize(block.len().div_ceil(BLOCK) * BLOCK, 0);
        block
    }

    fn find(archive: &[u8], name: &'static str, pieces: usize) -> Option<Vec<u8>> {
        let mut reader = FileInTar::new(name, 1000, 100_000);
        for piece in archive.chunks(pieces) {
            if reader.write_all(piece).is_err() {
                break;
            }
        }
        reader.take()
    }

    #[test]
    fn a_file_is_found_however_it_comes() {
        let archive: Vec<u8> = [
            member("chart/Chart.yaml", b"name: chart"),
            member("chart/charts/sub/README.md", b"not this"),
            member("chart/empty.txt", b""),
            member("./chart/README.md", &[b'x'; 600]),
            member("chart/values.yaml", b"a: 1"),
            vec![0; 1024],
        ]
        .concat();
        for pieces in [1, 7, 512, 513, 100_000] {
            assert_eq!(find(&archive, "readme.md", pieces).as_deref(), Some(&[b'x'; 600][..]), "{pieces}");
            assert_eq!(find(&archive, "values.yaml", pieces).as_deref(), Some(&b"a: 1"[..]), "{pieces}");
            assert_eq!(find(&archive, "empty.txt", pieces).as_deref(), Some(&b""[..]), "{pieces}");
            assert_eq!(find(&archive, "license", pieces), None);
        }
    }

    #[test]
    fn what_is_too_large_or_cut_off_is_not_found() {
        let large = member("chart/README.md", &[b'x'; 1001]);
        assert_eq!(find(&large, "readme.md", 64), None);
        let whole = member("chart/README.md", &[b'x'; 900]);
        assert_eq!(find(&whole[..1000], "readme.md", 64), None);
        let late = [member("chart/a", &[0; 100_000]), whole].concat();
        assert_eq!(find(&late, "readme.md", 64), None);
        assert_eq!(find(&[0xff; 600], "readme.md", 64), None);
    }
}
