//! Files that somebody who means harm would send.

fn numbered(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

pub(crate) fn bomb(levels: usize) -> String {
    let letter = |level: usize| char::from(b"abcdefghijklmnopqrstuvwxyz"[level]);
    let levels = numbered(levels, |level| {
        let aliases = vec![format!("*{}", letter(level)); 10].join(", ");
        format!("{0}: &{0} [{aliases}]\n", letter(level + 1))
    });
    format!("a: &a [x, x, x, x, x, x, x, x, x, x]\n{levels}")
}

pub(crate) fn files() -> Vec<(&'static str, String)> {
    let n = 1 << 20;
    vec![
        ("7 levels of aliases", bomb(7)),
        ("20 levels of aliases", bomb(20)),
        ("merges of merges", numbered(200, |i| format!("a{i}: &a{i} {{ <<: [*a{}, *a{}] }}\n", i / 2, i / 3))),
        ("10,000 [", "[".repeat(10_000)),
        ("1 Mi [", "[".repeat(n)),
        ("10,000 closed [", ["[".repeat(10_000), "]".repeat(10_000)].concat()),
        ("[ on lines", "[\n".repeat(n / 2)),
        ("10,000 {", "{".repeat(10_000)),
        ("{a:", "{a: ".repeat(n / 4)),
        ("10,000 - ", "- ".repeat(10_000) + "x"),
        ("1 Mi - ", "- ".repeat(n / 2)),
        ("? ", "? ".repeat(n / 2)),
        (": ", ": ".repeat(n / 2)),
        ("indentation", numbered(1_400, |i| " ".repeat(i) + "a:\n")),
        ("indented list", numbered(1_400, |i| " ".repeat(i) + "-\n")),
        ("10 MB", "a: b\n".repeat(2_000_000)),
        ("10 MB of [", "[".repeat(10_000_000)),
        ("one huge scalar", format!("a: {}", "x".repeat(n - 10))),
        ("one huge quoted scalar", format!("a: \"{}\"", "x".repeat(n - 10))),
        ("an unclosed quoted scalar", format!("a: \"{}", "x ".repeat(n / 2 - 10))),
        ("a huge block", format!("a: |\n{}", "  x\n".repeat(n / 4 - 10))),
        ("a huge key", format!("{}: a", "k".repeat(n - 10))),
        ("an alias to a huge scalar", format!("a: &a {}\nb: [{}]", "x".repeat(n / 2), "*a, ".repeat(1_000))),
        ("many anchors", numbered(60_000, |i| format!("a{i}: &a{i} x\n"))),
        (
            "nested anchors",
            [
                numbered(60, |i| format!("{}a: &a{i}\n", " ".repeat(i))),
                format!("{}b: [{}x]\n", " ".repeat(60), "x, ".repeat(40_000)),
            ]
            .concat(),
        ),
        ("many keys", numbered(100_000, |i| format!("a{i}:\n"))),
        ("one key many times", "a: 1\n".repeat(200_000)),
        ("anchors in a list", format!("[{}]", "&a ".repeat(n / 3 - 2))),
        ("commas", format!("[{}]", ",".repeat(n - 2))),
        ("a map's keys", format!("{{{}}}", "a:,".repeat(n / 3 - 2))),
        ("many long lists", format!("- [{}]\n", "a,".repeat(15_000)).repeat(32)),
        ("a flat list", format!("[{}]", "a,".repeat(n / 2 - 2))),
        ("a flat block list", "- a\n".repeat(n / 4)),
        ("empty values", "-\n".repeat(n / 2)),
        ("many tags", "- !t x\n".repeat(n / 7)),
        ("tag directives", numbered(30_000, |i| format!("%TAG !a{i}! x\n"))),
        ("other directives", "%FOO\n".repeat(n / 5)),
        ("documents", "---\n".repeat(n / 4)),
        ("comments", "# x\n".repeat(n / 4)),
        ("spaces", " ".repeat(n)),
        ("tabs", "\t".repeat(n)),
        ("lines", "\n".repeat(n)),
        ("carriage returns", "\r".repeat(n)),
        ("quotes", "\"".repeat(n)),
        ("NUL", "\0".repeat(n)),
        (
            "opened expressions",
            format!("name: x\nnodes: {{ a: {{ uses: x, with: \"{}\" }} }}", "${{ ".repeat(n / 4 - 100)),
        ),
        ("expressions", format!("name: x\nnodes: {{ a: {{ uses: x, with: \"{}\" }} }}", "${{x}}".repeat(20_000))),
        (
            "expressions on one line",
            format!(
                "name: x\nnodes: {{ a: {{ uses: x, with: [{}] }} }}",
                format!("\"{}${{{{ nope }}}}\",", "é".repeat(60)).repeat(6_000)
            ),
        ),
        ("words on one line", format!("[{}]", format!("\"{}\",", "w ".repeat(80)).repeat(6_000))),
        ("dollars", format!("services: {{ a: {{ image: \"{}\" }} }}", "$".repeat(n - 100))),
        ("nested defaults", format!("services: {{ a: {{ image: \"{}\" }} }}", "${A:-".repeat(100_000))),
        ("opened variables", format!("services: {{ a: {{ image: \"{}\" }} }}", "${".repeat(100_000))),
    ]
}
