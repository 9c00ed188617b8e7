//! A node's status can be shown elsewhere (feature `serde` of raft-core).
#![allow(missing_docs)]

use raft_core::{Config, MemoryStorage, NodeId, RawNode, RoleKind, Status};

#[test]
fn a_status_is_read_back_as_it_was_written() {
    let id = NodeId::new(1).unwrap();
    let mut node = RawNode::new(Config::new(id, 0), MemoryStorage::with_voters([id])).unwrap();
    node.campaign().unwrap();
    while node.has_ready() {
        let ready = node.ready();
        node.storage_mut().persist(&ready).unwrap();
        node.advance(ready).unwrap();
    }
    let status = node.status();
    assert_eq!((status.role, status.progress.len()), (RoleKind::Leader, 1));
    let text = serde_json::to_string(&status).unwrap();
    assert!(text.contains(r#""id":1,"term":1,"vote":1"#), "{text}");
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    // What can't be is refused on the way in too.
    assert!(serde_json::from_str::<Status>(&text.replace(r#""id":1"#, r#""id":0"#)).is_err());
}
