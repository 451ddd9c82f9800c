//! Large bodies, to a real server.

use super::bench::{Gate, Server, post, ready};

/// A gateway with two models, of which the second has this server.
fn gate(server: &Server) -> Gate {
    let gate = Gate::new();
    gate.publish(vec![ready("other", 1), ready("m", server.port)]);
    gate
}

#[test]
fn a_server_reads_50_mb_of_json_to_its_end() {
    let server = Server::tiny();
    let gate = gate(&server);
    let padding = "x".repeat(50 << 20);
    let body =
        |model: &str| format!(r#"{{"n_predict": 3, "padding": "{padding}", "prompt": "x", "model": "{model}"}}"#);
    let answer = gate.exchange(post("/completion", "Connection: close\r\n", &body("m")));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"tokens_predicted\":3,"), "{answer}");
    assert!(answer.contains("hello hello hello"), "{answer}");
    let answer = gate.exchange(post("/completion", "Connection: close\r\n", &body("k")));
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("model_not_found"), "{answer}");
}

#[test]
fn a_server_reads_25_mb_of_a_form_to_its_end() {
    let server = Server::tiny();
    let gate = gate(&server);
    let part =
        |name: &str, value: &str| format!("--x\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n");
    let model = part("\"model\"", "m");
    let file = part("\"file\"; filename=\"a.wav\"", &"\0".repeat(25 << 20));
    let ask = |form: &str| {
        let head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                    Content-Type: multipart/form-data; boundary=x\r\n";
        gate.exchange(format!("{head}Content-Length: {}\r\n\r\n{form}", form.len()))
    };
    // The server speaks of its model once it has understood the whole form.
    for form in [[model.as_str(), &file], [&file, &model]] {
        let answer = ask(&format!("{}--x--\r\n", form.concat()));
        assert!(answer.starts_with("HTTP/1.1 501 ") && answer.contains("does not support audio"), "{answer}");
    }
    let unended = ask(&[model.as_str(), &file].concat());
    assert!(unended.starts_with("HTTP/1.1 400 ") && unended.contains("server: llama.cpp"), "{unended}");
}
