//! Views, with the game of `examples/hunt`: its own tests run here too.

use std::fs;
use std::path::Path;

#[expect(dead_code, reason = "main is the example's")]
#[path = "../../examples/hunt/main.rs"]
mod hunt;

#[test]
fn the_page_shows_the_hunt_as_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("it is there");
    let (page, game) = (read("docs/your-own-game.md"), read("examples/hunt/main.rs"));
    let blocks: Vec<_> = page.split("```rust hunt/main.rs\n").skip(1).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let (block, _) = block.split_once("```").expect("it ends");
        assert!(game.contains(block), "not in hunt/main.rs:\n{block}");
    }
}
