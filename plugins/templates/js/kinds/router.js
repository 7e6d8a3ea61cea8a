// A router that picks the least loaded of the healthy candidates.

const HEALTHY = 1;
const DRAINING = 2;
const U32_MAX = 2 ** 32 - 1;
// Leaves the choice to the host. This is u32::MAX: this engine hands over numbers above 2^31 as
// negative ones, in both directions.
const NO_CHOICE = -1;

// Tries of a request after which the host chooses.
let attemptsMax = 3;
// Those that may be picked.
let candidates = [];
let last = NO_CHOICE;

const invalid = (text) => ({ tag: "invalid-config", val: text });

export const lifecycle = {
  describe() {
    return {
      name: "{{name}}",
      version: "0.1.0",
      summary: "the least loaded of the healthy candidates",
    };
  },

  configure(settings) {
    let given;
    try {
      given = JSON.parse(settings);
    } catch (error) {
      throw invalid(String(error));
    }
    if (given === null || typeof given !== "object" || Array.isArray(given)) {
      throw invalid("the settings must be one JSON object");
    }
    for (const [name, value] of Object.entries(given)) {
      if (name !== "attempts_max") {
        throw invalid(`unknown setting \`${name}\`; known: attempts_max`);
      }
      if (!Number.isInteger(value) || value < 1 || value > U32_MAX) {
        throw invalid(`\`attempts_max\` must be a whole number from 1 to ${U32_MAX}`);
      }
      attemptsMax = value;
    }
  },

  // There is nothing to carry over to a newer version.
  snapshot() {
    return new Uint8Array(0);
  },

  restore(_state) {},
};

export const routing = {
  observe(table) {
    candidates = [];
    table.states.forEach((state, index) => {
      if ((state & (HEALTHY | DRAINING)) !== HEALTHY) return;
      candidates.push({
        index,
        weight: Math.max(table.weights[index] >>> 0, 1),
        // As of the table, plus the picks since.
        inFlight: table.inFlight[index] >>> 0,
        // 0 stands for no known limit.
        capacity: table.capacities[index] >>> 0 || Infinity,
      });
    });
    last = NO_CHOICE;
  },

  pick(_key, _costHint, attempt) {
    if (attempt >>> 0 >= attemptsMax) return NO_CHOICE;
    // The host asks again because the last pick was no use.
    const avoided = attempt !== 0 ? last : NO_CHOICE;
    let best;
    for (const one of candidates) {
      if (one.index === avoided || one.inFlight >= one.capacity) continue;
      // Load is in flight per weight; a / b < c / d without a division, exact up to 2^53.
      if (best === undefined || one.inFlight * best.weight < best.inFlight * one.weight) best = one;
    }
    last = NO_CHOICE;
    if (best !== undefined) {
      best.inFlight = Math.min(best.inFlight + 1, U32_MAX);
      last = best.index;
    }
    return last;
  },
};
