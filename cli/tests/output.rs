//! Where output goes: files whole or not at all, pipes that close, clean streams.
#![cfg(all(feature = "mlx", unix))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{finish, npy, on_tiny, program};

fn only_file(folder: &Path) -> String {
    let mut names = fs::read_dir(folder).unwrap();
    let name = names.next().unwrap().unwrap().file_name();
    assert!(names.next().is_none());
    name.into_string().unwrap()
}

#[test]
fn an_output_file_holds_what_stdout_would_and_stdout_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.npy");
    fs::write(&file, "old").unwrap();
    let args = ["embed", "x", "--format", "npy"];
    let outcome = on_tiny(&[&args[..], &["--output", file.to_str().unwrap()]].concat());
    assert_eq!((outcome.stdout(), outcome.stderr.as_str()), ("", ""));
    let bytes = fs::read(&file).unwrap();
    assert_eq!(bytes, on_tiny(&args).stdout);
    assert_eq!(npy(&bytes).0, [1, 192]);
    assert_eq!(only_file(folder.path()), "x.npy");
}

#[test]
fn a_new_output_file_has_the_permissions_of_any_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let (usual, file) = (folder.path().join("usual"), folder.path().join("x.json"));
    File::create(&usual).unwrap();
    on_tiny(&["embed", "x", "--output", file.to_str().unwrap()]).stdout();
    assert_eq!(mode(&file), mode(&usual));
}

#[test]
fn a_failed_run_leaves_the_old_output_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.json");
    fs::write(&file, "old").unwrap();
    let failing = ["embed", "x", "--dimensions", "193", "--output"];
    let outcome = on_tiny(&[&failing[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(outcome.code, 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    assert_eq!(only_file(folder.path()), "x.json");
}

#[test]
fn an_output_link_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    on_tiny(&["embed", "x", "--output", link.to_str().unwrap()]).stdout();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().starts_with("{\"model\""));
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    on_tiny(&["embed", "x", "--output", "/dev/null"]).stdout();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn a_dash_is_stdout_and_no_file_of_that_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = program();
    program.current_dir(folder.path()).args(["embed", "x"]);
    let to_stdout = finish(&mut program);
    let to_dash = finish(program.args(["--output", "-"]));
    assert_eq!(to_dash.stdout(), to_stdout.stdout());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_that_leaves_an_output_pipe_early_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut program = program();
    program.args(["embed", "--device", "cpu", "--model"]);
    program.arg(support::tiny()).arg("--output").arg(&pipe);
    // More than a pipe holds, so that the last write finds the reader gone.
    program.args(vec!["some words"; 500]);
    let child = program.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    drop(File::open(&pipe).unwrap());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!("error: {}: Broken pipe (os error 32)\n", pipe.display())
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_reader_that_leaves_stdout_early_ends_the_run_quietly() {
    let texts = vec!["some words"; 500];
    let mut child = program()
        .args(["embed", "--device", "cpu", "--format", "jsonl"])
        .args(texts)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(line.starts_with("{\"index\":0,"));
    assert_eq!(stderr, support::NOTE);
}

#[test]
fn warnings_that_nobody_reads_do_not_stop_the_run() {
    // Without `--device cpu`, so that the library warns where there is no accelerator.
    let mut program = program();
    program.args(["embed", "x"]).stdout(Stdio::piped());
    let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"{\"model\""));
}

#[test]
fn a_full_disk_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let model = support::tiny();
    let mut program = program();
    program
        .args(["embed", "x", "--device", "cpu", "--model"])
        .arg(model);
    let output = program.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: stdout: No space left on device (os error 28)\n"
    );
}
