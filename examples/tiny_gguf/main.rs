//! Writes tiny models for llama-server, so that everything here can be tried
//! and tested without a download.
//!
//! ```text
//! cargo run --example tiny_gguf -- hello.gguf --text "hello "
//! cargo run --example tiny_gguf -- --set weights     # what ./models.d needs
//! ```

mod gguf;

use std::path::{Path, PathBuf};

use clap::Parser;
use gguf::{GgufError, TinyGguf};

/// Writes a GGUF of a few KB that llama-server runs and that says one text.
#[derive(Parser)]
struct Arguments {
    /// The file to write; one that is there is replaced.
    #[arg(required_unless_present = "set")]
    out: Option<PathBuf>,
    /// What the model says, again and again.
    #[arg(long, default_value = "hello ")]
    text: String,
    /// `general.name`.
    #[arg(long, default_value = "tiny")]
    name: String,
    /// The context it claims to be trained for, in tokens.
    #[arg(long, default_value_t = 4096)]
    context: u32,
    /// A Jinja chat template.
    #[arg(long)]
    chat_template: Option<String>,
    /// Makes it slow: so many layers of 103 MB of zeros, as holes in the file.
    #[arg(long, default_value_t = 0)]
    zero_layers: u32,
    /// Writes the weights that the repository's models.d names into this
    /// directory instead; those that are there stay as they are.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    set: Option<PathBuf>,
}

/// The weights of models.d: file and text.
const SET: [(&str, &str); 3] =
    [("tiny-chat.gguf", "hello "), ("tiny-embed.gguf", "embed "), ("tiny-spare.gguf", "spare ")];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(dir) = &arguments.set {
        return write_set(dir);
    }
    let mut model = TinyGguf::new(arguments.text)
        .name(arguments.name)
        .context(arguments.context)
        .zero_layers(arguments.zero_layers);
    if let Some(template) = arguments.chat_template {
        model = model.chat_template(template);
    }
    if let Some(out) = &arguments.out {
        report(out, model.write(out))?;
    }
    Ok(())
}

fn write_set(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    for (file, text) in SET {
        let path = dir.join(file);
        // A new file, even of the same content, is a changed model to herdsman.
        if path.exists() {
            println!("{} is there already", path.display());
        } else {
            let name = file.trim_end_matches(".gguf");
            report(&path, TinyGguf::new(text).name(name).write(&path))?;
        }
    }
    Ok(())
}

fn report(path: &Path, written: Result<u64, GgufError>) -> Result<(), GgufError> {
    println!("{} written, {} bytes", path.display(), written?);
    Ok(())
}
