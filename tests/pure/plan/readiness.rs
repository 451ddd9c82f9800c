//! When an instance counts as ready, and when it is given up.

use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

#[test]
fn a_server_without_progress_is_given_up_after_the_timeout() {
    let mut world = World::settled([model("chat").ready_timeout(60)]);
    world.define(model("chat").ready_timeout(60).fate("hangs"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(fate set to hangs, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 61.000 s, pid 102)
    -- 60.000 s
    found   chat start_failed(deadline)
    note    chat generation 2 failed(deadline)
    note    chat crashes 0
    note    chat instance stopping
    note    chat status error and why
    stop    chat: not_ready_in_time
            - stop pid 102 by force (status stays)
    -- 60.000 s
    start   chat: rolled_back(failed 2, to 1)
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    -- 60.000 s
    note    chat status loading and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 121.000 s, pid 103)
    -- 60.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 121.000 s, pid 103)
    -- 61.000 s
    found   chat ready(pid 103)
    note    chat instance ready
    note    chat status running and why
    wait    chat: edit(generation 2, serving 1)
    -- 61.000 s
    wait    chat: edit(generation 2, serving 1)
    ");
}

#[test]
fn a_server_with_progress_is_given_six_times_the_timeout() {
    let mut world = World::settled([model("chat").ready_timeout(60)]);
    world.define(model("chat").ready_timeout(60).fate("crawls"));
    let begun = world.now;
    world.settle();
    let failed = &world.store.records().models["chat"].generation.outcome;
    let herdsman::model::GenerationOutcome::Failed(death) = failed else { panic!("{failed:?}") };
    assert_eq!(death.message, "not ready after 360 s");
    assert_eq!(world.now.since(begun).as_secs(), 361, "and a second for the former generation to load");
}

#[test]
fn a_live_server_that_does_not_answer_is_left_alone_unless_told_otherwise() {
    let mut world = World::settled([model("chat")]);
    world.machine.server("chat").silent = true;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat instance ready, no answer
    wait    chat: answer(pid 101)
    -- 0.000 s
    wait    chat: answer(pid 101)
    ");
    world.advance(100_000);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    chat: answer(pid 101)
    ");
}

#[test]
fn a_live_server_that_does_not_answer_is_killed_after_unhealthy_after() {
    let mut world = World::settled([model("chat").unhealthy_after(30)]);
    world.machine.server("chat").silent = true;
    world.pass();
    world.advance(29);
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    wait    chat: answer(deadline 31.000 s, pid 101)
    ");
    world.advance(1);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat crashes 1
    note    chat instance stopping, no answer
    note    chat status error and why
    stop    chat: unhealthy(for_ms 31000)
            - stop pid 101 by force (status stays)
    -- 0.000 s
    start   chat: process_gone(crashes 1)
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 632.000 s, pid 102)
    -- 1.000 s
    found   chat ready(pid 102)
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn an_answer_in_between_starts_the_count_anew() {
    let mut world = World::settled([model("chat").unhealthy_after(30)]);
    for silent in [true, false, true] {
        world.machine.server("chat").silent = silent;
        world.pass();
        world.advance(20);
    }
    assert_snapshot!(world.planned(), @"wait    chat: answer(deadline 71.000 s, pid 101)");
}

#[test]
fn a_server_without_a_layer_on_a_gpu_is_not_ready_where_one_is_required() {
    let mut world = World::settled([model("chat").require_gpu()]);
    world.define(model("chat").require_gpu().fate("no-gpu"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(fate set to no-gpu, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   chat start_failed(no_gpu)
    note    chat generation 2 failed(no_gpu)
    note    chat crashes 0
    note    chat instance stopping
    note    chat status error and why
    stop    chat: failed_to_start
            - stop pid 102 by force (status stays)
    -- 1.000 s
    start   chat: rolled_back(failed 2, to 1)
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    -- 1.000 s
    note    chat status loading and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 602.000 s, pid 103)
    -- 1.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 602.000 s, pid 103)
    -- 2.000 s
    found   chat ready(pid 103)
    note    chat instance ready
    note    chat status running and why
    wait    chat: edit(generation 2, serving 1)
    -- 2.000 s
    wait    chat: edit(generation 2, serving 1)
    ");
}

#[test]
fn silence_is_waited_out_until_a_time_that_the_plan_tells() {
    let mut world = World::settled([model("chat").unhealthy_after(30)]);
    world.machine.server("chat").silent = true;
    assert_snapshot!(world.story_of(3), @"
    -- 0.000 s
    note    chat instance ready, no answer
    wait    chat: answer(deadline 31.000 s, pid 101)
    -- 0.000 s
    wait    chat: answer(deadline 31.000 s, pid 101)
    -- 30.000 s
    note    chat crashes 1
    note    chat instance stopping, no answer
    note    chat status error and why
    stop    chat: unhealthy(for_ms 30000)
            - stop pid 101 by force (status stays)
    ");
}

#[test]
fn a_clock_that_is_set_does_not_change_how_long_a_start_may_take() {
    // The kernel tells a start to the second: five count as set, less do not.
    for by in [5_000, 3_600_000, -5_000, -3_600_000] {
        let mut world = World::new([model("chat").ready_timeout(60).fate("hangs")]);
        world.pass();
        world.set_clock(by);
        let deadline = world.now.plus(std::time::Duration::from_secs(60));
        assert_eq!(world.pass().plan.waiting[0].on.deadline(), Some(deadline), "set by {by} ms");
    }
    let mut world = World::new([model("chat").ready_timeout(60).fate("hangs")]);
    world.pass();
    let deadline = world.now.plus(std::time::Duration::from_secs(60));
    world.set_clock(4_999);
    assert_eq!(world.pass().plan.waiting[0].on.deadline(), Some(deadline));
}

#[test]
fn the_log_tells_the_layers_where_a_gpu_is_required_unless_its_level_is_stated() {
    let levels = |definition| -> Vec<String> {
        let plan = World::new([definition]).plan();
        let starts = plan.actions[0].steps.iter().find_map(|step| match step {
            herdsman::plan::Step::Start { launch, .. } => Some(launch.args.clone()),
            _ => None,
        });
        starts.unwrap().into_iter().skip_while(|word| word != "--verbosity").collect()
    };
    assert_eq!(levels(model("chat").require_gpu()), ["--verbosity", "4"]);
    assert!(levels(model("chat")).is_empty());
    let stated = levels(model("chat").require_gpu().option("verbosity", "5"));
    assert_eq!(stated.iter().filter(|word| *word == "--verbosity").count(), 1);
    assert_eq!(stated[1], "5");
}

#[test]
fn a_server_that_answers_without_its_model_is_not_ready_and_is_rolled_back() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("router"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(fate set to router, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   chat start_failed(spec)
    note    chat generation 2 failed(spec)
    note    chat crashes 0
    note    chat instance stopping
    note    chat status error and why
    stop    chat: failed_to_start
            - stop pid 102 by force (status stays)
    -- 1.000 s
    start   chat: rolled_back(failed 2, to 1)
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    -- 1.000 s
    note    chat status loading and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 602.000 s, pid 103)
    -- 1.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 602.000 s, pid 103)
    -- 2.000 s
    found   chat ready(pid 103)
    note    chat instance ready
    note    chat status running and why
    wait    chat: edit(generation 2, serving 1)
    -- 2.000 s
    wait    chat: edit(generation 2, serving 1)
    ");
}

#[test]
fn a_first_generation_that_answers_without_its_model_is_tried_again_ever_later() {
    let mut world = World::new([model("chat").fate("router")]);
    assert_snapshot!(world.story_of(8), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state running)
            - record row, chat port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat start_failed(spec)
    note    chat crashes 1
    note    chat instance stopping
    note    chat status error and why
    stop    chat: failed_to_start
            - stop pid 101 by force (status stays)
    -- 1.000 s
    start   chat: process_gone(crashes 1)
            - start generation 1 of chat on port 8100
    -- 1.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 2.000 s
    found   chat start_failed(spec)
    note    chat crashes 2
    note    chat instance stopping
    note    chat status error and why
    stop    chat: failed_to_start
            - stop pid 102 by force (status stays)
    -- 2.000 s
    wait    chat: backoff(crashes 2, until 3.000 s)
    -- 3.000 s
    start   chat: process_gone(crashes 2)
            - start generation 1 of chat on port 8100
    ");
}

#[test]
fn a_server_with_other_weights_than_asked_for_is_not_ready() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").option("ctx_size", "8192"));
    world.pass();
    world.machine.server("chat").weights = Some("/weights/other.gguf".to_owned());
    assert_snapshot!(world.story_of(3), @"
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   chat start_failed(spec)
    note    chat generation 2 failed(spec)
    note    chat crashes 0
    note    chat instance stopping
    note    chat status error and why
    stop    chat: failed_to_start
            - stop pid 102 by force (status stays)
    -- 1.000 s
    start   chat: rolled_back(failed 2, to 1)
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    ");
}

#[test]
fn a_server_that_does_not_say_yet_what_it_serves_goes_on_loading() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("secretive"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(fate set to secretive, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 5.000 s
    found   chat ready(pid 102)
    note    chat generation 2 ready
    note    chat instance ready
    note    chat status running
    -- 5.000 s
    nothing, 1 matching
    ");
    world.define(model("chat").fate("secretive").ready_timeout(3).option("ctx_size", "512"));
    let text = world.story();
    assert!(text.contains("note    chat generation 3 failed(deadline)"), "{text}");
}

#[test]
fn a_build_that_does_not_say_what_it_serves_is_believed() {
    let mut world = World::new([model("chat")]);
    world.pass();
    world.machine.server("chat").weights = None;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat ready(pid 101)
    note    chat generation 1 ready
    note    chat port 8100 proven
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}
