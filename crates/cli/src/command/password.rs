//! Passwords on their way in: from a pipe, or typed without an echo, new ones twice. Never from an argument.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use identity::Secret;
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};

use crate::exit::{Exit, Failure};

/// More than any password may have; a pipe with more is a mistake.
const BYTES_MAX: u64 = 4096;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7f;

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

/// Asks on the terminal with the echo off, and puts it back whatever happens. Ctrl-C comes as a character meanwhile: a
/// signal would leave the terminal without its echo.
fn typed(question: &str) -> Result<Secret, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failed, error);
    let stdin = io::stdin();
    let before = tcgetattr(stdin.as_fd()).map_err(|errno| failed(errno.into()))?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
    silent.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    silent.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    eprint!("{question}");
    io::stderr().flush().map_err(failed)?;
    tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &silent).map_err(|errno| failed(errno.into()))?;
    let read = keys(stdin.lock());
    let restored = tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &before);
    eprintln!();
    restored.map_err(|errno| failed(errno.into()))?;
    match read.map_err(failed)? {
        Some(password) => Ok(password),
        None => Err(Failure::text(Exit::Interrupted, "interrupted")),
    }
}

/// One line from a terminal that does not edit lines; nothing after Ctrl-C.
fn keys(input: impl BufRead) -> io::Result<Option<Secret>> {
    let mut line = Vec::new();
    for key in input.bytes() {
        match key? {
            b'\n' | b'\r' | CTRL_D => break,
            CTRL_C => return Ok(None),
            CTRL_U => line.clear(),
            BACKSPACE | DELETE => {
                // The whole last character, whose first byte is no continuation.
                while line.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
            }
            other if (line.len() as u64) < BYTES_MAX => line.push(other),
            _ => {}
        }
    }
    Ok(Some(Secret::new(line)))
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
    fn keys_that_edit_are_not_part_of_the_password() {
        for (typed, password) in [
            ("abc\n", Some("abc")),
            ("abc\r", Some("abc")),
            ("ab\x7fc\n", Some("ac")),
            ("aä\x7fc\n", Some("ac")),
            ("\x7f\x08a\n", Some("a")),
            ("wrong\x15right\n", Some("right")),
            ("abc", Some("abc")),
            ("abc\x04", Some("abc")),
            ("abc\x03", None),
        ] {
            let got = keys(typed.as_bytes()).expect("bytes in memory");
            let expected = password.map(str::as_bytes);
            assert_eq!(got.as_ref().map(Secret::expose), expected, "{typed:?}");
        }
    }

    #[test]
    fn one_line_end_is_not_part_of_the_password() {
        for (text, password) in
            [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), (" a \n", " a "), ("a\n\n", "a\n"), ("\n", "")]
        {
            assert_eq!(without_newline(text.to_owned()).expose(), password.as_bytes(), "{text:?}");
        }
    }
}
