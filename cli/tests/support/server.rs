//! A running server, and a client that sends exactly the bytes it is told to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::NamedTempFile;

use super::{program, tiny};

/// Longer than anything takes here; only a hanging server reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program as a server on a free port, ended when dropped.
pub struct Server {
    child: Child,
    address: String,
    log: NamedTempFile,
}

impl Server {
    /// A server of the tiny model on the CPU, whose vectors are f32.
    pub fn start(args: &[&str]) -> Self {
        let tiny = tiny();
        let model = ["--model", tiny.to_str().unwrap()];
        Self::spawn(program().arg("serve").args(model).args(args))
    }

    /// The server that `program` becomes.
    pub fn spawn(program: &mut Command) -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut child = program
            .args(["--port", "0", "--device", "cpu"])
            .stdout(Stdio::piped())
            .stderr(File::create(log.path()).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{line}{}", std::fs::read_to_string(log.path()).unwrap()));
        let address = line["listening"].as_str().unwrap();
        let server = Self {
            address: address.strip_prefix("http://").unwrap().to_owned(),
            child,
            log,
        };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let begin = Instant::now();
        while self.get("/ready").status != 200 {
            assert!(begin.elapsed() < PATIENCE, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    pub fn get(&self, path: &str) -> Answer {
        let mut client = self.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        client.answer()
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.post(path, body.as_ref());
        client.answer()
    }

    /// The right answer to a right request: what every test ends with.
    pub fn assert_serves(&self) {
        let answer = self.post("/embed", r#"{"inputs": "still right"}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()[0].as_array().unwrap().len(), 192);
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// How it ended, which it must do by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    pub fn post(&mut self, path: &str, body: &[u8]) {
        self.try_post(path, body).unwrap();
    }

    pub fn try_post(&mut self, path: &str, body: &[u8]) -> std::io::Result<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.try_send(&[head.as_bytes(), body].concat())
    }

    /// The next answer.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// The next answer, or nothing where the connection ended before it.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let status = self.line().filter(|line| !line.is_empty())?;
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            body.resize(length.parse().unwrap(), 0);
            self.0.read_exact(&mut body).ok()?;
        } else if headers.contains_key("transfer-encoding") {
            while let size @ 1.. = usize::from_str_radix(&self.line()?, 16).unwrap() {
                let begin = body.len();
                body.resize(begin + size, 0);
                self.0.read_exact(&mut body[begin..]).ok()?;
                self.line()?;
            }
            self.line()?;
        }
        Some(Answer {
            status,
            headers,
            body,
        })
    }

    /// Whether the server has closed, with nothing left to read.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.0.fill_buf(), Ok([]))
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(1..) => Some(line.trim_end().to_owned()),
            Ok(0) | Err(_) => None,
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }
}
