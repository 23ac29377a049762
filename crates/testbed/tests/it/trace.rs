//! R-04 and R-08 seen from the kernel: in which order a push makes its bytes durable, and what the client is
//! told when that fails. Needs strace.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hythe_testbed::{Bed, Options, random_bytes};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci::{Algorithm, Digest};

const CALLS: &str =
    "trace=fsync,fdatasync,rename,renameat,renameat2,write,writev,pwrite64,send,sendto,sendmsg,recvfrom";

/// PostgreSQL's "ready for query, no transaction is open", as strace writes it.
const IDLE: &str = r"Z\0\0\0\5I";

#[tokio::test]
async fn r_04_a_blob_is_durable_before_it_is_recorded_and_recorded_before_it_is_acknowledged() {
    let bed = Bed::own(Options::default()).await;
    let project = bed.project("trace").create().await;
    let registry = bed.admin().registry();
    // Whatever happens only once is not what is looked at.
    registry.push_image(&project.repository("image"), "first").await;

    let trace = Trace::attach(&bed, &[]);
    let digest = registry.push_blob(&project.repository("image"), &random_bytes(300_000)).await;
    let calls = trace.detach();

    let text = || calls.iter().map(|call| call.text.as_str()).collect::<Vec<_>>().join("\n");
    let only = |what: &str, parts: &[&str]| -> &Call {
        let found: Vec<&Call> =
            calls.iter().filter(|call| parts.iter().all(|part| call.text.contains(part))).collect();
        assert_eq!(found.len(), 1, "{what} ({parts:?}) is there {} times in\n{}", found.len(), text());
        found[0]
    };
    let rename = only("the rename", &["rename", "/uploads/", "/b/"]);
    let key = rename
        .text
        .split("/b/")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .map(|rest| format!("b/{rest}"));
    let key = key.unwrap_or_else(|| panic!("no key in {}", rename.text));
    let data = only("the sync of the data", &["sync(", "/uploads/"]);
    let directory = only("the sync of the directory", &["fsync(", &format!("/{}>", &key[..4])]);
    // Unix sockets lead to PostgreSQL only. The first that it hears of the key, what it says when it is idle again on that
    // connection, which is after its commit, and the answer.
    let mut database = calls.iter().filter(|call| call.text.contains("<UNIX-STREAM:"));
    let recorded =
        database.find(|call| call.text.contains(&key)).unwrap_or_else(|| panic!("no insert\n{}", text()));
    let connection = recorded.descriptor();
    let committed = database.find(|call| {
        call.descriptor() == connection && call.text.starts_with("recvfrom(") && call.text.contains(IDLE)
    });
    let committed = committed.unwrap_or_else(|| panic!("no commit\n{}", text()));
    let answer = only("the answer", &["HTTP/1.1 201", digest.hex().as_str()]);

    let order = [data, rename, directory, recorded, committed, answer];
    for (earlier, later) in order.iter().zip(&order[1..]) {
        assert!(
            earlier.ended < later.begun,
            "{}\ncomes too late before\n{}\nin\n{}",
            earlier.text,
            later.text,
            text()
        );
    }
    for call in [data, rename, directory] {
        assert!(call.text.contains(") = 0"), "{}", call.text);
    }
    let late = calls.iter().find(|call| {
        call.text.starts_with("pwrite64(") && call.text.contains("/uploads/") && call.ended > data.begun
    });
    assert!(late.is_none(), "{late:?} comes after the data were made durable");
}

#[tokio::test]
async fn r_08_a_push_that_cannot_be_made_durable_is_refused_and_can_be_repeated() {
    let bed = Bed::own(Options::default()).await;
    let repository = bed.project("trace").create().await.repository("image");
    let registry = bed.admin().registry();
    for inject in ["fdatasync:error=EIO", "fsync:error=EIO", "renameat2:error=EIO", "pwrite64:error=ENOSPC"] {
        let bytes = random_bytes(300_000);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let upload = registry.start_upload(&repository).await;
        let trace = Trace::attach(&bed, &["-e", &format!("inject={inject}")]);
        let refused = registry.finish(&upload, &digest, &bytes).await;
        let calls = trace.detach();
        assert!(calls.iter().any(|call| call.text.contains("(INJECTED)")), "{inject}: nothing was injected");
        let refused = refused.expect(503);
        assert!(!refused.header("retry-after").is_empty(), "{inject}: {refused}");
        registry.head_blob(&repository, &digest).await.expect(404);
        registry.push_blob(&repository, &bytes).await;
        let read = registry.get_blob(&repository, &digest).await.expect(200);
        assert_eq!(Digest::of(Algorithm::Sha256, &read.body), digest, "{inject}");
    }
}

/// A system call, with the positions of its begin and its end in the trace.
#[derive(Debug)]
struct Call {
    text: String,
    begun: usize,
    ended: usize,
}

impl Call {
    /// The first argument: a descriptor with what it stands for.
    fn descriptor(&self) -> &str {
        let arguments = self.text.split_once('(').map_or("", |(_, arguments)| arguments);
        arguments.split_once(", ").map_or(arguments, |(first, _)| first)
    }
}

/// strace, attached to a running server. Detached when dropped.
struct Trace {
    strace: Child,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Trace {
    fn attach(bed: &Bed, extra: &[&str]) -> Trace {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, messages) = (dir.path().join("trace"), dir.path().join("messages"));
        let strace = Command::new("strace")
            .args(["-f", "-ttt", "-yy", "-s", "2000", "-e", "signal=none", "-e", CALLS])
            .args(extra)
            .arg("-o")
            .arg(&file)
            .args(["-p", &bed.process_id().to_string()])
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&messages).expect("our own directory"))
            .spawn()
            .expect("strace cannot be run; it shows system calls to this test: install it (apt-get install strace)");
        let mut trace = Trace { strace, file, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !threads_of(bed.process_id()).iter().all(|status| traced(status)) {
            let ended = trace.strace.try_wait().expect("our own child");
            let said = || std::fs::read_to_string(&messages).unwrap_or_default();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "strace cannot attach to the server: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        trace
    }

    fn detach(mut self) -> Vec<Call> {
        self.end();
        calls(&std::fs::read_to_string(&self.file).expect("strace has written this file"))
    }

    /// strace detaches when it is interrupted.
    fn end(&mut self) {
        let _ = kill(Pid::from_raw(self.strace.id().cast_signed()), Signal::SIGINT);
        let _ = self.strace.wait();
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Ok(None) = self.strace.try_wait() {
            self.end();
        }
    }
}

/// The status of every thread of a process.
fn threads_of(process: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("the server runs");
    // A thread may end in between.
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok())
        .collect()
}

fn traced(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

/// Lines `thread time call`, with calls that others came between put together.
fn calls(text: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (position, line) in text.lines().enumerate() {
        let mut fields = line.splitn(2, ' ');
        let (Some(thread), Some(rest)) = (fields.next(), fields.next()) else { continue };
        let Some((_, call)) = rest.trim_start().split_once(' ') else { continue };
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (position, start));
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            if let Some((first, start)) = begun.remove(thread) {
                calls.push(Call { text: format!("{start}{rest}"), begun: first, ended: position });
            }
        } else {
            calls.push(Call { text: call.to_owned(), begun: position, ended: position });
        }
    }
    calls.sort_by_key(|call| call.begun);
    calls
}
