//! A server of a few lines that behaves like an engine where it matters: streams, upgrades, bodies of every form.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::{env, fs, process, thread};

#[derive(Debug)]
pub(crate) struct Server {
    folder: PathBuf,
    heard: Arc<Mutex<Vec<String>>>,
    /// Lets the next piece of a stream go.
    pub(crate) go: Sender<()>,
    /// Says that a stream's client has gone.
    pub(crate) left: Receiver<()>,
}

#[derive(Clone)]
struct Room {
    heard: Arc<Mutex<Vec<String>>>,
    go: Arc<Mutex<Receiver<()>>>,
    left: Sender<()>,
}

impl Server {
    pub(crate) fn start(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("wf-bed-{}-{name}", process::id()));
        fs::create_dir(&folder).unwrap();
        let listener = UnixListener::bind(folder.join("s")).unwrap();
        let ((go, gone), (leave, left)) = (channel(), channel());
        let heard = Arc::default();
        let room = Room { heard: Arc::clone(&heard), go: Arc::new(Mutex::new(gone)), left: leave };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (room, stream) = (room.clone(), stream.unwrap());
                thread::spawn(move || room.serve(&stream));
            }
        });
        Self { folder, heard, go, left }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.folder.join("s").display())
    }

    /// The first line of each request, and how long its body was.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Room {
    fn serve(&self, stream: &UnixStream) -> io::Result<()> {
        let (mut from, mut to) = (BufReader::new(stream), stream);
        loop {
            let (mut head, mut line) = (Vec::new(), String::new());
            while from.read_line(&mut line)? > 2 {
                head.push(std::mem::take(&mut line).trim().to_ascii_lowercase());
            }
            let Some(first) = head.first() else { return Ok(()) };
            if head.iter().any(|line| line == "expect: 100-continue") {
                to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let size = body(&head, &mut from)?;
            self.heard.lock().unwrap().push(format!("{first} {size}"));
            match first.split(' ').nth(1).unwrap() {
                "/chunks" => {
                    to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")?;
                    let _ = self.go.lock().unwrap().recv();
                    to.write_all(b"3;x=y\r\ntwo\r\n0\r\nSum: 6\r\n\r\n")?;
                }
                "/forever" => {
                    to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")?;
                    while from.read(&mut [0])? > 0 {}
                    let _ = self.left.send(());
                    return Ok(());
                }
                "/upgrade" | "/raw" => {
                    to.write_all(if first.contains("/raw") {
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
                    } else {
                        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                    })?;
                    io::copy(&mut from, &mut to)?;
                    return to.write_all(b"bye");
                }
                "/gone" => to.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?,
                "/once" => return to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nonce"),
                _ if first.starts_with("head") => to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")?,
                _ => to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfixed")?,
            }
            if head.iter().any(|line| line == "connection: close") {
                return Ok(());
            }
        }
    }
}

fn body(head: &[String], from: &mut impl BufRead) -> io::Result<u64> {
    let value = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if value("transfer-encoding:") != Some("chunked") {
        let size = value("content-length:").map_or(0, |size| size.parse().unwrap());
        return io::copy(&mut from.take(size), &mut io::sink());
    }
    let mut all = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).unwrap();
        all += io::copy(&mut from.take(size), &mut io::sink())?;
        from.read_line(&mut line)?;
        if size == 0 {
            return Ok(all);
        }
    }
}
