// Runs the golden battles in a module for wasm32 and prints their text: node run.mjs golden_module.wasm
// The module imports nothing: what it computes comes from its own instructions.
import { readFileSync, writeSync } from "node:fs";

const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), {});
const place = BigInt.asUintN(64, instance.exports.run());
const bytes = new Uint8Array(instance.exports.memory.buffer, Number(place >> 32n), Number(place & 0xffffffffn));
for (let written = 0; written < bytes.length; ) {
  written += writeSync(1, bytes, written);
}
