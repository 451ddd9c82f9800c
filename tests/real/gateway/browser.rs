//! llama.cpp's own web page, in Chromium.

use insta::assert_snapshot;

use super::embeds;
use super::stand_in::StandIn;
use crate::support::World;

const BROWSER: &str = "browser.py";

#[test]
fn chooses_a_model_that_does_not_run_and_sees_it_load_and_answer() {
    let world = World::new();
    world.tiny("chat");
    world.tiny("coder");
    embeds(&world, "embed");
    let gateway = StandIn::new(&world, &[]);
    let url = format!("{}/", gateway.url);
    assert_snapshot!(world.client(BROWSER, &["all_models", &url, "coder", "chat", "embed"]), @"
    models: Available models
      model: chat
      model: coder
      model: embed
    loaded: coder
    answer: coder coder coder
    ");
    assert_snapshot!(world.client(BROWSER, &["all_models", &url, "chat", "coder", "embed"]), @"
    models: Loaded models
      model: coder
    models: Available models
      model: chat
      model: embed
    loaded: chat
    answer: chat chat chat
    ");
}
