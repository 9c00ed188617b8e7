//! The directives at which this core deliberately differs from etcd, with its own output: `tests/divergences.md`.

/// The output that is expected of this core, at this line of this script.
pub(super) fn find(script: &str, line: usize) -> Option<String> {
    let heading = format!("### {script}, line {line}");
    let mut lines = include_str!("../../tests/divergences.md").lines();
    lines.find(|text| *text == heading)?;
    let mut output = String::new();
    for text in lines.skip_while(|text| *text != "```text").skip(1).take_while(|text| *text != "```") {
        output.push_str(text);
        output.push('\n');
    }
    Some(output)
}
