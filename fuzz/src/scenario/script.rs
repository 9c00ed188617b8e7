//! The file format: directives, their input, and the output that is expected of them.

/// A directive.
#[derive(Debug, Default)]
pub(super) struct Directive {
    /// Its line in the file, from 1.
    pub(super) line: usize,
    /// The directive as it is written.
    pub(super) text: String,
    pub(super) command: String,
    pub(super) arguments: Vec<Argument>,
    pub(super) input: String,
    pub(super) expected: String,
}

/// `key`, `key=value` or `key=(value,...)`.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

impl Directive {
    /// The values of an argument, if it is there.
    pub(super) fn values(&self, key: &str) -> Option<&[String]> {
        self.arguments.iter().find(|argument| argument.key == key).map(|argument| argument.values.as_slice())
    }

    /// The only value of an argument.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.values(key)?.first().map(String::as_str)
    }

    /// The arguments without `=`.
    pub(super) fn positional(&self) -> impl Iterator<Item = &str> {
        self.arguments
            .iter()
            .filter(|argument| argument.values.is_empty())
            .map(|argument| argument.key.as_str())
    }
}

/// Reads a script.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, String> {
    let mut lines = text.lines().enumerate().peekable();
    let mut directives = Vec::new();
    while let Some((at, line)) = lines.next() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let mut text = trimmed.to_owned();
        while text.ends_with('\\') {
            text.pop();
            text.push(' ');
            text.push_str(lines.next().map_or("", |(_, line)| line.trim()));
        }
        let mut input = Vec::new();
        loop {
            match lines.next() {
                Some((_, "----")) => break,
                Some((_, line)) => input.push(line),
                None => return Err(format!("line {}: the directive has no ----", at + 1)),
            }
        }
        let mut expected = String::new();
        if lines.next_if(|(_, line)| *line == "----").is_some() {
            read_double(&mut lines, &mut expected);
        } else {
            while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
                expected.push_str(line);
                expected.push('\n');
            }
        }
        let (command, arguments) = split(&text);
        directives.push(Directive {
            line: at + 1,
            command,
            arguments,
            input: input.join("\n").trim().to_owned(),
            expected,
            text,
        });
    }
    Ok(directives)
}

/// Output that contains blank lines ends with two separators.
fn read_double<'a>(
    lines: &mut std::iter::Peekable<impl Iterator<Item = (usize, &'a str)>>,
    expected: &mut String,
) {
    while let Some((_, line)) = lines.next() {
        if line == "----" && lines.next_if(|(_, line)| *line == "----").is_some() {
            return;
        }
        expected.push_str(line);
        expected.push('\n');
    }
}

fn split(text: &str) -> (String, Vec<Argument>) {
    let (command, mut rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut arguments = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return (command.to_owned(), arguments);
        }
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let mut values = Vec::new();
        rest = after;
        if let Some(after) = after.strip_prefix('=') {
            let (value, after) = split_value(after);
            values = value;
            rest = after;
        }
        arguments.push(Argument { key: key.to_owned(), values });
    }
}

fn split_value(text: &str) -> (Vec<String>, &str) {
    let Some(inner) = text.strip_prefix('(') else {
        let end = text.find(' ').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (vec![value.to_owned()], rest);
    };
    let mut values = Vec::new();
    let mut value = String::new();
    let mut depth = 0;
    for (at, letter) in inner.char_indices() {
        match letter {
            ')' if depth == 0 => {
                values.push(value.trim_start().to_owned());
                return (values, inner.get(at + 1..).unwrap_or(""));
            }
            ',' if depth == 0 => values.push(std::mem::take(&mut value).trim_start().to_owned()),
            _ => {
                depth += i32::from(letter == '(') - i32::from(letter == ')');
                value.push(letter);
            }
        }
    }
    values.push(value);
    (values, "")
}
