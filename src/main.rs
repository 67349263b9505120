//! The stock program.

fn main() -> anyhow::Result<()> {
    tiltyard::run()
}
