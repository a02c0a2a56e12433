//! Programs that tests need beside Rust: a test without its program says so
//! loudly, and fails where `CI` is set.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// Whether a program is there. In CI it has to be.
pub fn is_there(program: &str) -> bool {
    let tells = |how: &str| {
        let version = Command::new(program).arg(how).stdin(Stdio::null()).output();
        version.is_ok_and(|output| output.status.success())
    };
    // openssl knows the second alone.
    demanded(program, tells("--version") || tells("version"))
}

/// A program of the path, or of Go's own folder.
pub fn go_program(name: &str) -> Option<PathBuf> {
    let gopath = std::env::var_os("GOPATH").map(PathBuf::from);
    let gopath = gopath.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join("go")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(gopath.map(|folder| folder.join("bin")));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    demanded(name, found.is_some());
    found
}

/// Tells, where a program is not there, that nothing is tested. In CI it has to be.
pub fn demanded(program: &str, there: bool) -> bool {
    if !there {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing, and CI must have it");
        eprintln!("!!! {program} is not installed: NOTHING IS TESTED HERE !!!");
    }
    there
}

/// Runs a program to its end, with this input.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Standard output of a program that succeeded.
#[track_caller]
pub fn succeeded(output: Output) -> Vec<u8> {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {errors}", output.status);
    output.stdout
}

/// A program that runs beside the test and ends with it.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
