//! The planner against a simulated world: every rule of the design as a story.

mod adopting;
mod applying;
mod binaries;
mod by_hand;
mod by_hand_states;
mod clock;
mod crashing;
mod creating;
mod draining;
mod drift;
mod failing;
mod former_hashes;
mod kills;
mod leftovers;
mod limits;
mod on_demand;
mod port_moves;
mod ports;
mod properties;
mod readiness;
mod remains;
mod removing;
mod rollback_ports;
mod updating;
mod withdraw;
mod wrappers;
