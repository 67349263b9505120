//! Headless client, bots, swarm.
