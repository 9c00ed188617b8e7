//! The architecture as a test: who may know whom, and what may be named where.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first. A module may name those of lower layers, and its own layer except where it says so.
/// `raft/leader` stands for `raft/leader.rs` and all below it, and so on.
const LAYERS: &[(&str, &[&str])] = &[
    // `report` names `error::ReadError`, the reason for which it says that a read was dropped. Nothing else of it.
    ("words", &["report", "trace", "entry_batches", "batches", "raft/rng"]),
    ("pure rooms", &["quorum", "storage", "config", "raft/clock", "progress"]),
    ("configurations", &["membership"]),
    // Composes the errors of the layers below.
    ("errors", &["error"]),
    ("the log", &["log"]),
    ("what roles share", &["raft/outbox", "raft/common"]),
    ("rules", &["raft/term_gate", "raft/election", "raft/snapshot"]),
    ("roles", ROLES),
    ("the state machine", &["raft", "raft/invariants"]),
    ("its outputs", &["ready", "status"]),
    ("the door", &["raw_node"]),
];

/// The roles don't know one another: what passes between them is a `Next`.
const ROLES: &[&str] = &["raft/follower", "raft/candidate", "raft/leader"];

fn crate_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The sources that are compiled into the crate, without tests, by module path.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    let src = crate_root().join("src");
    let mut found = Vec::new();
    walk(&src, &mut found);
    let module = |path: &PathBuf| {
        let relative = path.strip_prefix(&src).unwrap().with_extension("");
        relative.components().map(|part| part.as_os_str().to_str().unwrap()).collect::<Vec<_>>().join("/")
    };
    let is_test = |name: &str| name.split('/').any(|part| part == "tests");
    found
        .iter()
        .map(|path| (module(path), without_comments(&fs::read_to_string(path).unwrap())))
        .filter(|(name, _)| !is_test(name))
        .collect()
}

fn without_comments(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The layer that a module path belongs to, by its longest prefix, and the entry that says so.
fn layer(module: &str) -> Option<(usize, &'static str)> {
    let covers = |entry: &str| module == entry || module.starts_with(&format!("{entry}/"));
    let all = LAYERS.iter().enumerate().flat_map(|(at, (_, entries))| entries.iter().map(move |e| (at, *e)));
    all.filter(|(_, entry)| covers(entry)).max_by_key(|(_, entry)| entry.len())
}

/// The paths that a source names from the crate's root, one for each leaf of a `use` tree, as `a/b/c`.
fn imports(module: &str, source: &str, modules: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in source.match_indices(root) {
            let boundary = source[..at].chars().next_back();
            if boundary.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let mut base: Vec<&str> =
                if root == "crate::" { Vec::new() } else { module.split('/').collect() };
            let mut tree = &source[at..];
            loop {
                if let Some(after) = tree.strip_prefix("crate::").or_else(|| tree.strip_prefix("self::")) {
                    tree = after;
                } else if let Some(after) = tree.strip_prefix("super::") {
                    base.pop();
                    tree = after;
                } else {
                    break;
                }
            }
            for leaf in leaves(tree) {
                let path: Vec<&str> = base.iter().copied().chain(leaf.iter().map(String::as_str)).collect();
                // The longest prefix that is a module; what comes behind it is an item.
                let known = (1..=path.len()).rev().map(|n| path[..n].join("/")).find(|p| modules.contains(p));
                // An item right at the root is re-exported from somewhere below: lib.rs knows everyone.
                found.push(known.unwrap_or_else(|| "lib".to_owned()));
            }
        }
    }
    found
}

/// The paths of a `use` tree, or the one path of an expression.
fn leaves(tree: &str) -> Vec<Vec<String>> {
    let mut prefix = Vec::new();
    let mut rest = tree;
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        items.push(std::mem::take(&mut item));
                        continue;
                    }
                    _ => {}
                }
                item.push(c);
            }
            items.push(item);
            let of_item = |item: &String| {
                leaves(item.trim())
                    .into_iter()
                    .map(|leaf| [prefix.clone(), leaf].concat())
                    .collect::<Vec<_>>()
            };
            return items.iter().filter(|item| !item.trim().is_empty()).flat_map(of_item).collect();
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if end > 0 && &rest[..end] != "self" {
            prefix.push(rest[..end].to_owned());
        }
        match rest[end..].strip_prefix("::") {
            Some(after) => rest = after,
            None => return vec![prefix],
        }
    }
}

/// What is wrong with `module` naming `target`, if anything.
fn fault(module: &str, target: &str) -> Option<String> {
    let own_tree = target == module || target.starts_with(&format!("{module}/"));
    if module == "lib" || own_tree {
        return None;
    }
    if target == "lib" {
        return Some(format!(
            "{module} names an item at the crate's root: name the module that it is defined in, so that this test \
             can see how far down it lies"
        ));
    }
    if (module, target) == ("report", "error") {
        return None; // only `ReadError`: checked below
    }
    let (Some((from, entry)), Some((to, other))) = (layer(module), layer(target)) else {
        return Some(format!(
            "{module} or {target} has no layer: give it one in LAYERS, and in ARCHITECTURE.md"
        ));
    };
    if to > from {
        return Some(format!(
            "{module} (layer {from}, {}) names {target} (layer {to}, {}): imports go down only. Move what both need \
             to a layer below both, or hand it in as an argument, or return it as a value",
            LAYERS[from].0, LAYERS[to].0
        ));
    }
    if ROLES.contains(&entry) && ROLES.contains(&other) && entry != other {
        return Some(format!(
            "{module} names {target}: roles don't know one another. What they share belongs in raft/common; a change \
             of role is a `Next` that the handler returns"
        ));
    }
    None
}

#[test]
fn imports_go_down_only() {
    let sources = sources();
    let modules: Vec<String> = sources.keys().cloned().collect();
    assert!(modules.len() > 30 && modules.contains(&"raft/leader/replication".to_owned()));
    let mut faults = Vec::new();
    let mut seen = 0;
    for (module, source) in &sources {
        for target in imports(module, source, &modules) {
            seen += 1;
            faults.extend(fault(module, &target));
        }
    }
    assert!(seen > 100, "the scan finds imports: {seen}");
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let without: Vec<String> =
        sources().into_keys().filter(|module| module != "lib" && layer(module).is_none()).collect();
    assert!(without.is_empty(), "give these a layer in LAYERS, and in ARCHITECTURE.md: {without:?}");
}

#[test]
fn the_scan_itself_sees_what_it_is_to_see() {
    let modules =
        ["raft", "raft/leader", "raft/leader/read_index", "raft/follower", "raft/common", "log", "ready"];
    let modules = modules.map(str::to_owned);
    let scan = |module: &str, source: &str| imports(module, source, &modules);
    assert_eq!(
        scan("log", "use crate::{raft::{common::Common, follower}, log::X};"),
        ["raft/common", "raft/follower", "log"]
    );
    assert_eq!(scan("raft/leader/read_index", "use super::super::follower::X;"), ["raft/follower"]);
    assert_eq!(scan("raft/leader", "fn f() { crate::ready::Ready::default() }"), ["ready"]);
    assert_eq!(scan("raft/follower", "use super::common::{Common, Next};"), ["raft/common", "raft/common"]);
    assert_eq!(scan("log", "use crate::RawNode;"), ["lib"]);
    for (module, target) in [
        ("log", "raft/common"),
        ("raft/follower", "raft/leader"),
        ("raft/leader/read_index", "raft/follower"),
        ("raft/candidate", "raft"),
        ("raft", "ready"),
        ("quorum", "membership"),
        ("storage", "error"),
        ("log", "lib"),
    ] {
        assert!(fault(module, target).is_some(), "{module} must not name {target}");
    }
    for (module, target) in
        [("raft/leader", "raft/leader/read_index"), ("raft/leader/read_index", "raft/leader")]
    {
        assert!(fault(module, target).is_none());
    }
}

#[test]
fn the_words_know_no_error_but_that_of_reads() {
    let source = &sources()["report"];
    let names: Vec<&str> =
        source.match_indices("crate::error::").map(|(at, _)| source[at..].lines().next().unwrap()).collect();
    assert_eq!(names, ["crate::error::ReadError;"], "report.rs may name error::ReadError and no other error");
}

#[test]
fn the_core_cannot_name_the_encoding() {
    for (module, source) in sources() {
        for word in ["prost", "wire"] {
            let named = source.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|w| w == word);
            assert!(
                !named,
                "{module} names {word}: the core speaks typed messages, their encoding is raft-proto's"
            );
        }
    }
    let manifest = fs::read_to_string(crate_root().join("Cargo.toml")).unwrap();
    assert!(
        !manifest.contains("prost") && !manifest.contains("\"wire\""),
        "raft-core's Cargo.toml turns the wire on"
    );
}

/// Who builds the core needs no protoc, no C++ and no patience.
#[test]
fn neither_library_has_a_build_script_and_the_core_brings_bytes_alone() {
    for library in [crate_root(), &crate_root().join("../raft-proto")] {
        let manifest = fs::read_to_string(library.join("Cargo.toml")).unwrap();
        let builds =
            manifest.contains("[build-dependencies]") || manifest.lines().any(|l| l.starts_with("build"));
        assert!(!builds && !library.join("build.rs").exists(), "{} has a build script", library.display());
    }
    let manifest = fs::read_to_string(crate_root().join("Cargo.toml")).unwrap();
    let mut sections = manifest.split("\n[");
    let dependencies = sections.find_map(|section| section.strip_prefix("dependencies]")).unwrap();
    let needed: Vec<&str> = dependencies
        .lines()
        .filter(|line| !line.trim_start().starts_with('#') && !line.contains("optional = true"))
        .filter_map(|line| line.split_once(['.', ' ', '=']).map(|(name, _)| name))
        .collect();
    assert_eq!(needed, ["bytes", "raft-proto"], "each crate more is one that every user compiles");
}

#[test]
fn only_one_file_assigns_the_role() {
    for (module, source) in sources() {
        let assigns = ["self.role =", "raft.role =", "&mut self.role,", "&mut raft.role,"];
        let found: Vec<&&str> = assigns.iter().filter(|text| source.contains(**text)).collect();
        if module == "raft" {
            assert_eq!(found, [&"&mut self.role,"], "become_next is the one place");
            assert_eq!(source.matches("&mut self.role,").count(), 1, "become_next is the one place");
        } else {
            assert!(
                found.is_empty(),
                "{module} assigns the role: return a `Next` and let Raft::become_next do it"
            );
        }
    }
}

#[test]
fn both_crates_deny_what_can_panic() {
    let workspace = fs::read_to_string(crate_root().join("../Cargo.toml")).unwrap();
    let section = |name: &str| {
        let start =
            workspace.find(&format!("[{name}]")).unwrap_or_else(|| panic!("no [{name}] in Cargo.toml"));
        let rest = &workspace[start + 1..];
        rest[..rest.find("\n[").unwrap_or(rest.len())].to_owned()
    };
    let clippy = section("workspace.lints.clippy");
    for lint in [
        "unwrap_used",
        "expect_used",
        "panic",
        "unreachable",
        "todo",
        "unimplemented",
        "indexing_slicing",
        "arithmetic_side_effects",
        "wildcard_enum_match_arm",
    ] {
        let line = format!("{lint} = \"deny\"");
        assert!(
            clippy.lines().any(|found| found == line),
            "Cargo.toml: [workspace.lints.clippy] lost `{line}`"
        );
    }
    let rust = section("workspace.lints.rust");
    for line in ["unsafe_code = \"forbid\"", "missing_docs = \"deny\""] {
        assert!(rust.lines().any(|found| found == line), "Cargo.toml: [workspace.lints.rust] lost `{line}`");
    }
    for name in ["raft-core", "raft-proto"] {
        let manifest = fs::read_to_string(crate_root().join("..").join(name).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name}/Cargo.toml must inherit the lints");
    }
}

#[test]
fn no_source_opts_out_of_a_lint() {
    for (module, source) in sources() {
        for text in ["#[allow(", "#![allow(", "#[expect("] {
            assert!(!source.contains(text), "{module} opts out of a lint with {text}…)]");
        }
        for lint in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            assert!(module != "lib" || source.contains(lint), "lib.rs lost {lint}");
        }
    }
}
