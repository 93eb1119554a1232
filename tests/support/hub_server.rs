//! A stand-in for the hub on 127.0.0.1: its protocol, and faults on demand.
//!
//! Like the real one it answers for small files itself, behind a redirect to
//! another path, and sends large files' readers to a content server: here
//! another port, so another origin.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commit of the directory that the server starts with.
pub const FIRST_COMMIT: &str = "1111111111111111111111111111111111111111";

/// One model on a hub that lives as long as the test process.
pub struct HubServer {
    /// Base URL of the hub.
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Hub,
    Content,
}

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub host: Host,
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

/// What the server does wrong, by file; `LISTING` stands for the model's list of files.
#[derive(Default)]
pub struct Faults {
    /// Closes the connection after so many bytes of the next body.
    pub break_once: HashMap<String, usize>,
    /// Flips the last byte of the content.
    pub corrupt: Vec<String>,
    /// Answers with this status and `X-Error-Code`.
    pub status: HashMap<String, (u16, &'static str)>,
    /// Answers with this status once.
    pub status_once: HashMap<String, u16>,
    /// Answers the next GET with this status.
    pub get_status_once: HashMap<String, u16>,
    /// Declares this ETag.
    pub etag: HashMap<String, String>,
    /// Redirects there instead.
    pub location: HashMap<String, String>,
    /// Declares this commit in the list of files.
    pub sha: Option<String>,
    /// Declares this commit with each file.
    pub file_commit: Option<String>,
    /// Gives 401 without this token.
    pub token: Option<String>,
    /// Sends whole files whatever range is asked for.
    pub no_ranges: bool,
    /// Moves `main` to the newest commit after this file was served.
    pub push_after: Option<String>,
}

pub const LISTING: &str = "(listing)";

struct State {
    model: String,
    content: String,
    commits: Vec<(String, PathBuf)>,
    main: usize,
    log: Vec<Request>,
    faults: Faults,
}

impl HubServer {
    /// Serves the files below `dir` as commit [`FIRST_COMMIT`] of `model`, on `main`.
    pub fn serve(dir: &Path, model: &str) -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let content = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        let state = State {
            model: model.to_owned(),
            content: format!("http://{}", content.local_addr().unwrap()),
            commits: vec![(FIRST_COMMIT.to_owned(), dir.to_owned())],
            main: 0,
            log: Vec::new(),
            faults: Faults::default(),
        };
        let state = Arc::new(Mutex::new(state));
        accept(hub, Host::Hub, &state);
        accept(content, Host::Content, &state);
        Self { endpoint, state }
    }

    /// Adds a commit; `main` stays where it is until `push_after` strikes.
    pub fn add_commit(&self, commit: &str, dir: &Path) {
        self.lock()
            .commits
            .push((commit.to_owned(), dir.to_owned()));
    }

    /// Changes what the server does wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.lock().log)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn accept(listener: TcpListener, host: Host, state: &Arc<Mutex<State>>) {
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            std::thread::spawn(move || serve_one(stream, host, &state));
        }
    });
}

fn serve_one(mut stream: TcpStream, host: Host, state: &Mutex<State>) {
    let Some(request) = read_request(&stream, host) else {
        return;
    };
    let reply = {
        let mut state = state.lock().unwrap();
        state.log.push(request.clone());
        state.reply(&request)
    };
    let mut head = format!("HTTP/1.1 {} -\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", reply.body.len());
    let body = if request.method == "HEAD" {
        &[]
    } else {
        &reply.body[..reply.send]
    };
    // The client may be gone: that is its business.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
}

fn read_request(stream: &TcpStream, host: Host) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut request = Request {
        host,
        method,
        path,
        range: None,
        authorization: None,
    };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.trim().to_owned()),
            "authorization" => request.authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    Some(request)
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    send: usize,
}

impl Reply {
    fn new(status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8>) -> Self {
        Self {
            status,
            headers,
            send: body.len(),
            body,
        }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(status, vec![("x-error-code", code.to_owned())], Vec::new())
    }
}

impl State {
    fn reply(&mut self, request: &Request) -> Reply {
        let api = format!("/api/models/{}/revision/", self.model);
        let resolve = format!("/{}/resolve/", self.model);
        let small = "/api/resolve-cache/";
        let path = request.path.as_str();
        if request.host == Host::Content {
            return self.bytes(path.trim_start_matches('/'), request);
        }
        if let Some(token) = &self.faults.token
            && request.authorization != Some(format!("Bearer {token}"))
        {
            return Reply::error(401, "GatedRepo");
        }
        if let Some(revision) = path.strip_prefix(&api) {
            return self.listing(revision);
        }
        if let Some(rest) = path.strip_prefix(&resolve) {
            return self.resolve(rest, request);
        }
        match path.strip_prefix(small) {
            Some(rest) => self.bytes(rest, request),
            None => Reply::error(404, "RepoNotFound"),
        }
    }

    fn listing(&mut self, revision: &str) -> Reply {
        if let Some((status, code)) = self.faults.status.get(LISTING) {
            return Reply::error(*status, code);
        }
        let Some((commit, dir)) = self.commit(revision) else {
            return Reply::error(404, "RevisionNotFound");
        };
        let mut files = Vec::new();
        list(&dir, "", &mut files);
        let siblings: Vec<_> = files
            .iter()
            .map(|file| serde_json::json!({ "rfilename": file }))
            .collect();
        let sha = self.faults.sha.clone().unwrap_or(commit);
        let info = serde_json::json!({ "id": self.model, "sha": sha, "siblings": siblings });
        Reply::new(200, Vec::new(), info.to_string().into_bytes())
    }

    /// Declares a file and sends the reader on.
    fn resolve(&mut self, rest: &str, request: &Request) -> Reply {
        let Some((revision, file)) = rest.split_once('/') else {
            return Reply::error(404, "EntryNotFound");
        };
        let file = &file.replace("%20", " ");
        if let Some((status, code)) = self.faults.status.get(file) {
            return Reply::error(*status, code);
        }
        if let Some(status) = self.faults.status_once.remove(file) {
            return Reply::error(status, "");
        }
        if request.method == "GET"
            && let Some(status) = self.faults.get_status_once.remove(file)
        {
            return Reply::error(status, "");
        }
        let found = self
            .commit(revision)
            .map(|(commit, dir)| (commit, dir.join(file)));
        let Some((commit, bytes)) =
            found.and_then(|(commit, path)| Some((commit, std::fs::read(path).ok()?)))
        else {
            return Reply::error(404, "EntryNotFound");
        };
        let declared = self.declared_commit(&commit);
        let mut headers = vec![("x-repo-commit", declared)];
        if let Some(location) = self.faults.location.get(file) {
            headers.push(("location", location.clone()));
            return Reply::new(302, headers, Vec::new());
        }
        if file.ends_with(".safetensors") {
            let etag = self
                .faults
                .etag
                .get(file)
                .cloned()
                .unwrap_or_else(|| sha256(&bytes));
            headers.push(("etag", "\"the content server's own\"".to_owned()));
            headers.push(("x-linked-etag", format!("\"{etag}\"")));
            headers.push(("x-linked-size", bytes.len().to_string()));
            headers.push((
                "location",
                format!("{}/{commit}/{}", self.content, file.replace(' ', "%20")),
            ));
            return Reply::new(302, headers, b"Found. Redirecting".to_vec());
        }
        headers.push(("location", format!("/api/resolve-cache/{commit}/{file}")));
        Reply::new(307, headers, b"Temporary Redirect".to_vec())
    }

    fn bytes(&mut self, rest: &str, request: &Request) -> Reply {
        let (commit, file) = rest.split_once('/').unwrap();
        let file = &file.replace("%20", " ");
        let (_, dir) = self.commit(commit).unwrap();
        let mut body = std::fs::read(dir.join(file)).unwrap();
        let etag = self
            .faults
            .etag
            .get(file)
            .cloned()
            .unwrap_or_else(|| git_sha1(&body));
        let mut headers = vec![("etag", format!("\"{etag}\""))];
        if request.host == Host::Hub {
            headers.push(("x-repo-commit", self.declared_commit(commit)));
        }
        if self.faults.corrupt.iter().any(|name| name == file) {
            *body.last_mut().unwrap() ^= 1;
        }
        let mut status = 200;
        if let Some(range) = request.range.as_deref().filter(|_| !self.faults.no_ranges) {
            let Some((from, end)) = span(range, body.len()) else {
                return Reply::error(416, "");
            };
            let content_range = format!("bytes {from}-{}/{}", end - 1, body.len());
            headers.push(("content-range", content_range));
            body = body[from..end].to_vec();
            status = 206;
        }
        let mut reply = Reply::new(status, headers, body);
        if request.method == "GET" {
            if let Some(bytes) = self.faults.break_once.remove(file) {
                reply.send = bytes.min(reply.body.len());
            }
            if self.faults.push_after.as_ref() == Some(file) {
                self.main = self.commits.len() - 1;
            }
        }
        reply
    }

    fn declared_commit(&self, commit: &str) -> String {
        self.faults
            .file_commit
            .clone()
            .unwrap_or_else(|| commit.to_owned())
    }

    fn commit(&self, revision: &str) -> Option<(String, PathBuf)> {
        match revision {
            "main" | "refs%2Fpr%2F5" => self.commits.get(self.main).cloned(),
            commit => self
                .commits
                .iter()
                .find(|(name, _)| name == commit)
                .cloned(),
        }
    }
}

/// The bytes that `bytes=from-` or `bytes=from-last` asks for.
fn span(range: &str, length: usize) -> Option<(usize, usize)> {
    let (from, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok().filter(|from| *from < length)?;
    let end = last
        .parse()
        .map_or(length, |last: usize| length.min(last + 1));
    (from < end).then_some((from, end))
}

fn list(dir: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn git_sha1(bytes: &[u8]) -> String {
    let header = format!("blob {}\0", bytes.len());
    hex(&Sha1::new()
        .chain_update(header)
        .chain_update(bytes)
        .finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
