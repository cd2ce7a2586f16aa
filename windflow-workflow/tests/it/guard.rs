//! The guard in front of documents: hostile files are refused after bounded work, counted in events and bytes.

use crate::hostile;
use proptest::prelude::*;
use windflow_workflow::document::{Kind, Limits, Node, Position, Source, StackDocument, Work, WorkflowDocument, read};

const MIB: u64 = 1024 * 1024;

#[test]
fn hostile_files_cost_bounded_work() {
    let (mut most_events, mut most_bytes) = (0, 0);
    for (name, text) in hostile::files() {
        for limits in [Limits::operator(), Limits::untrusted()] {
            let mut work = Work::default();
            let spent = allocation_counter::measure(|| work = read("f.yaml", &text, &limits).1).bytes_max;
            assert!(work.events <= limits.max_events + 1, "{name}: {} events", work.events);
            // Each copy is counted before it is made: at most the one that breaks the bound is counted too much.
            assert!(work.alias_bytes <= 2 * limits.max_alias_bytes, "{name}: {} bytes", work.alias_bytes);
            assert!(spent < 16 * MIB, "{name} held {} KiB", spent >> 10);
            (most_events, most_bytes) = (most_events.max(work.events), most_bytes.max(spent));
        }
    }
    println!("the most: {most_events} events, {} KiB", most_bytes >> 10);
}

#[test]
fn hostile_files_are_bounded_as_documents_too() {
    let here = windflow_workflow::Environment::new("/srv").with_variable("A", "x");
    // The rest ends in the reader, which the test above is about.
    let ours = |text: &str| text.starts_with("name") || text.starts_with("services") || text.starts_with("a");
    for (name, text) in hostile::files().into_iter().filter(|(_, text)| ours(text)) {
        let limits = Limits::operator();
        let spent = allocation_counter::measure(|| {
            assert!(WorkflowDocument::parse("f.yaml", &text, &limits).is_err() || name == "expressions", "{name}");
        });
        assert!(spent.bytes_max < 24 * MIB, "{name} held {} KiB", spent.bytes_max >> 10);
        let spent = allocation_counter::measure(|| {
            let folder = std::path::Path::new("/srv");
            // `$$` is a dollar, however often it is said.
            assert!(
                StackDocument::parse("f.yaml", &text, folder, &here, &limits).is_err() || name == "dollars",
                "{name}"
            );
        });
        assert!(spent.bytes_max < 24 * MIB, "{name} held {} KiB", spent.bytes_max >> 10);
    }
}

#[test]
fn what_is_too_much_is_refused_before_the_rest_is_read() {
    let events = |text: &str| read("f.yaml", text, &Limits::operator()).1.events;
    assert!(events(&"[".repeat(10_000)) <= 2);
    assert!(events(&"- ".repeat(10_000)) <= 70);
    assert_eq!(events(&"a: b\n".repeat(2_000_000)), 0);
    assert!(events(&hostile::bomb(20)) < 200);
    assert!(events(&"- !t x\n".repeat(50_000)) < 200);
}

#[test]
fn a_line_may_be_as_long_as_the_file() {
    let word = "é".repeat(150_000);
    let text = format!(
        "name: x\nnodes: {{ a: {{ uses: y, with: {{ plain: {word}, quoted: \"{word}\", read: \"{word}${{{{ nope }}}}\" }}, neds: b }} }}\n"
    );
    let problems = WorkflowDocument::parse("f.yaml", &text, &Limits::operator()).unwrap_err();
    let told: Vec<String> =
        problems.iter().map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.path)).collect();
    assert_eq!(told, ["2:450064 nodes.a.with.read", "2:450076 nodes.a.neds"]);
    let shown = problems.render();
    assert!(shown.len() < 2_000 && shown.contains("é${{ nope }}\" }, neds: b } }\n"), "{} {shown}", shown.len());
    // Long lines of expressions cost no more than short ones.
    let many = "x".repeat(100) + "${{ run.id }}";
    let list = vec![format!("\"{many}\""); 2_000].join(",");
    let text = format!("name: x\nnodes: {{ a: {{ uses: y, with: [{list}] }} }}\n");
    assert!(WorkflowDocument::parse("f.yaml", &text, &Limits::operator()).is_ok());
}

#[test]
fn a_file_full_of_one_mistake_is_told_of_it_a_hundred_times_and_no_more() {
    let problems = read("f.yaml", &"- !t x\n".repeat(50_000), &Limits::operator()).0.unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 101);
    assert_eq!(
        told[0],
        "f.yaml:1:3: [0]: the tag '!t' is not read here (remove it; a value's type follows from how it is written)"
    );
    assert_eq!(told[100], "f.yaml:101:3: there are more than 100 problems; the rest is not listed");
}

fn spans_are_in_range(node: &Node, source: &Source) {
    for at in [node.span.start, node.span.end] {
        assert_eq!(source.clamp(at), at, "{node:?}");
    }
    assert!(node.span.start <= node.span.end);
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::List(items) => items.iter().for_each(|item| spans_are_in_range(item, source)),
        Kind::Map(entries) => entries.iter().for_each(|entry| {
            assert_eq!(source.clamp(entry.key_span.start), entry.key_span.start);
            spans_are_in_range(&entry.value, source);
        }),
    }
}

fn check(text: &str) {
    let source = Source::new("f.yaml", text);
    if let Ok(tree) = read("f.yaml", text, &Limits::operator()).0 {
        spans_are_in_range(&tree, &source);
    }
    let here = windflow_workflow::Environment::new("/srv");
    let workflow = WorkflowDocument::parse("f.yaml", text, &Limits::operator()).err();
    let stack = StackDocument::parse("f.yaml", text, std::path::Path::new("/srv"), &here, &Limits::operator()).err();
    for problems in [workflow, stack].into_iter().flatten() {
        assert!(!problems.is_empty());
        assert!(problems.render().len() > problems.len());
        for problem in problems.iter().filter(|problem| problem.line > 0) {
            let at = Position { line: problem.line, column: problem.column };
            assert_eq!(source.clamp(at), at, "{problem} in {text:?}");
        }
    }
}

/// Text made of what YAML and our keys are made of: finds more than even letters do.
fn yaml_like() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "name",
        "nodes",
        "uses",
        "shell",
        "with",
        "needs",
        "if",
        "retry",
        "inputs",
        "outputs",
        "services",
        "image",
        "environment",
        "ports",
        "a",
        "b",
        "é",
        "${{ ",
        " }}",
        "${A",
        "}",
        "$",
        "inputs.x",
        "nodes.a.output",
        ": ",
        ":",
        "- ",
        "-",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        "\r\n",
        "\r",
        "\t",
        " ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "&a ",
        "*a",
        "<<: ",
        "!t ",
        "!!str ",
        "? ",
        "# c",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "5",
        "1s",
        "true",
        "yes",
        "~",
        "\u{feff}",
        "\u{2028}",
        "\u{85}",
        "\\",
        "\\x",
        "(",
        ")",
        "|x|",
        "1 +",
        "8080:80",
        "secret://a/b",
        "\u{1f600}",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// More with `WINDFLOW_DEEP` set.
fn cases() -> u32 {
    if std::env::var_os("WINDFLOW_DEEP").is_some() { 200_000 } else { 1_000 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics_and_places_exist(text in "\\PC{0,80}") {
        check(&text);
    }

    #[test]
    fn yaml_like_text_never_panics_and_places_exist(text in yaml_like()) {
        check(&text);
        check(&format!("name: x\nnodes:\n  a:\n    uses: y\n    with: {text}\n"));
        check(&format!("services:\n  a:\n    image: x\n    command: {text}\n"));
    }

    #[test]
    fn what_json_says_reads_the_same(value in json()) {
        let text = serde_json::to_string(&value).unwrap();
        let tree = read("f.yaml", &text, &Limits::operator()).0.unwrap();
        prop_assert_eq!(tree.to_value(), value);
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        "[a-zA-Z0-9 .:#-]{0,12}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
