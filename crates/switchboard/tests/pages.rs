//! The code in docs/migrating.md is the code of the two examples that the suite `migrating` runs.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

/// Code without its indentation.
fn lines(code: &str) -> String {
    code.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_code_of_the_page_on_migrating_is_the_code_that_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("it is there");
    let page = read("docs/migrating.md");
    for (language, example, parts) in [
        ("\n```rust\n", "crates/switchboard/examples/migrating.rs", 7),
        ("\n```rust,ignore\n", "benchmark/peers/examples/migrating.rs", 5),
    ] {
        let run = lines(&read(example));
        let blocks: Vec<_> = page.split(language).skip(1).collect();
        assert_eq!(blocks.len(), parts, "{example}");
        for block in blocks {
            let (code, _) = block.split_once("```").expect("a block ends");
            assert!(run.contains(lines(code).trim()), "{example} has no such code:\n{code}");
        }
    }
}
