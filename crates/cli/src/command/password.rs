//! Passwords on their way in: from a pipe, or typed without an echo, new ones twice. Never from an argument.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use identity::Secret;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::exit::{Exit, Failure};

/// More than any password may have; a pipe with more is a mistake.
const BYTES_MAX: u64 = 4096;

/// One password. `piped` reads standard input without asking, even when it is a terminal.
pub(super) fn read(piped: bool) -> Result<Secret, Failure> {
    let password = if piped || !io::stdin().is_terminal() {
        piped_password()?
    } else {
        let first = typed("new password: ")?;
        if typed("again: ")?.expose() != first.expose() {
            return Err(Failure::text(Exit::Usage, "the two passwords differ"));
        }
        first
    };
    if password.expose().is_empty() {
        return Err(Failure::text(Exit::Usage, "no password on standard input")
            .remedy("echo 'a new password' | hythe admin ... --password-stdin"));
    }
    Ok(password)
}

/// A password that somebody has already, typed once.
pub(super) fn ask(question: &str) -> Result<Secret, Failure> {
    let password = typed(question)?;
    if password.expose().is_empty() {
        return Err(Failure::text(Exit::Usage, "no password was typed"));
    }
    Ok(password)
}

/// The first line of standard input; what follows stays for who reads next.
pub(super) fn first_line() -> Result<Secret, Failure> {
    let mut text = String::new();
    let read = io::stdin().lock().take(BYTES_MAX).read_line(&mut text);
    read.map_err(|error| Failure::new(Exit::Usage, error))?;
    let password = without_newline(text);
    if password.expose().is_empty() {
        return Err(Failure::text(Exit::Usage, "no password on standard input"));
    }
    Ok(password)
}

fn piped_password() -> Result<Secret, Failure> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    Ok(without_newline(text))
}

/// Asks on the terminal with the echo off, and puts it back whatever happens.
fn typed(question: &str) -> Result<Secret, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failed, error);
    let stdin = io::stdin();
    let before = tcgetattr(stdin.as_fd()).map_err(|errno| failed(errno.into()))?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    eprint!("{question}");
    io::stderr().flush().map_err(failed)?;
    tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &silent).map_err(|errno| failed(errno.into()))?;
    let mut text = String::new();
    let read = stdin.lock().take(BYTES_MAX).read_line(&mut text);
    let restored = tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &before);
    eprintln!();
    restored.map_err(|errno| failed(errno.into()))?;
    read.map_err(failed)?;
    Ok(without_newline(text))
}

/// The line's end belongs to the shell, everything else to the password.
fn without_newline(mut text: String) -> Secret {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Secret::new(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_the_password() {
        for (text, password) in
            [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), (" a \n", " a "), ("a\n\n", "a\n"), ("\n", "")]
        {
            assert_eq!(without_newline(text.to_owned()).expose(), password.as_bytes(), "{text:?}");
        }
    }
}
