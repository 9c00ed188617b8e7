//! The loop in README.md is the one that runs.

#[test]
fn the_loop_in_the_readme_is_that_of_three() {
    let readme = include_str!("../../../README.md");
    let source = include_str!("../src/bin/three.rs");
    let (_, rest) = readme.split_once("```rust\n").unwrap();
    let (code, _) = rest.split_once("```").unwrap();
    let mut lines = source.lines().map(str::trim);
    for line in code.lines().map(str::trim) {
        assert!(
            lines.any(|other| other == line),
            "examples/the-loop/src/bin/three.rs has no such line: {line}"
        );
    }
}
