//! A placeholder.
use super::gateway::Gateway;
use super::listen::Listener;
/// A placeholder.
pub fn serve(_gateway: Gateway, _listeners: Vec<Listener>) -> std::io::Result<()> {
    Ok(())
}
