//! A network that can be cut: every node reaches every other through a proxy of its own.
//!
//! A link that is cut is a black hole, as a broken network is: what was sent is held, connections stay open, new
//! ones are accepted and hear nothing. When it's mended, what was held goes on.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One direction of dialling: from one node to another.
struct Link {
    cut: AtomicBool,
    /// The proxy is to end.
    gone: AtomicBool,
}

/// The proxies between the nodes.
#[derive(Default)]
pub(crate) struct Network {
    links: BTreeMap<(u64, u64), Arc<Link>>,
}

/// How often a thread looks whether its link is cut, or gone.
const LOOK: Duration = Duration::from_millis(10);

impl Network {
    /// A proxy for the connections from one node to another, which listens there. Gives its address.
    pub(crate) fn add(&mut self, from: u64, to: u64, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let link = Arc::new(Link { cut: AtomicBool::new(false), gone: AtomicBool::new(false) });
        self.links.insert((from, to), link.clone());
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            while !link.gone.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((near, _)) => {
                        let link = link.clone();
                        std::thread::spawn(move || carry(&link, near, target));
                    }
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        addr
    }

    /// Cuts a node off from all others, both ways.
    pub(crate) fn isolate(&self, node: u64) {
        self.set(|from, to| from == node || to == node, true);
    }

    /// Cuts what goes from one node to another: that one still reaches it.
    pub(crate) fn cut(&self, from: u64, to: u64) {
        self.set(|a, b| (a, b) == (from, to), true);
    }

    pub(crate) fn mend(&self) {
        self.set(|_, _| true, false);
    }

    fn set(&self, which: impl Fn(u64, u64) -> bool, cut: bool) {
        for ((from, to), link) in &self.links {
            if which(*from, *to) {
                link.cut.store(cut, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for link in self.links.values() {
            link.gone.store(true, Ordering::Relaxed);
        }
    }
}

impl Link {
    /// Waits while the link is cut. False if it's gone.
    fn pass(&self) -> bool {
        while self.cut.load(Ordering::Relaxed) && !self.gone.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
        !self.gone.load(Ordering::Relaxed)
    }
}

fn carry(link: &Arc<Link>, near: TcpStream, target: SocketAddr) {
    if !link.pass() {
        return;
    }
    let Ok(far) = TcpStream::connect(target) else { return };
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
    let _ = near.set_nonblocking(false);
    let link_too = link.clone();
    std::thread::spawn(move || pump(&link_too, far_too, near_too));
    pump(link, near, far);
}

fn pump(link: &Link, mut from: TcpStream, mut to: TcpStream) {
    let _ = from.set_read_timeout(Some(LOOK));
    let _ = to.set_nodelay(true);
    let mut buffer = [0; 64 << 10];
    while link.pass() {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                if !link.pass() || to.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
