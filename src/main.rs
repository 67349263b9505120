//! The stock program.

fn main() -> anyhow::Result<()> {
    Ok(())
}
