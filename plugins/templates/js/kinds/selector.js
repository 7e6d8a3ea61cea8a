// A selector that takes the clients with the most samples.

// The most that each setting may be; the least is 1.
const LIMITS = {
  // Examples per step.
  batch_size: 65_536,
  // Passes over the client's examples.
  epochs: 1_000,
};
const chosen = { batch_size: 32, epochs: 1 };

const invalid = (text) => ({ tag: "invalid-config", val: text });

// The largest u64 arrive as small negative numbers from this engine; this takes that back.
const u64 = (number) => (number < 0 ? number + 2 ** 64 : number);

export const lifecycle = {
  describe() {
    return { name: "{{name}}", version: "0.1.0", summary: "the clients with the most samples" };
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
      if (!Object.hasOwn(LIMITS, name)) {
        throw invalid(`unknown setting \`${name}\`; known: ${Object.keys(LIMITS).join(", ")}`);
      }
      if (!Number.isInteger(value) || value < 1 || value > LIMITS[name]) {
        throw invalid(`\`${name}\` must be a whole number from 1 to ${LIMITS[name]}`);
      }
      chosen[name] = value;
    }
  },

  // There is nothing to carry over to a newer version.
  snapshot() {
    return new Uint8Array(0);
  },

  restore(_state) {},
};

export const selection = {
  select(request, clients) {
    // An id goes back to the host as it came, so that it needs no repair.
    const samples = clients.samples.map(u64);
    const bySamples = clients.ids.map((id, index) => ({ id, samples: samples[index] }));
    // The sort is stable, so that equal clients stay in the host's order.
    bySamples.sort((a, b) => b.samples - a.samples);
    // Numbers above 2^31 arrive as negative ones from this engine; `>>> 0` takes that back.
    const ids = bySamples.slice(0, request.clientsMax >>> 0).map(({ id }) => id);
    if (ids.length < request.clientsMin >>> 0) {
      throw { tag: "unsupported", val: `there are only ${ids.length} clients` };
    }
    return {
      ids,
      batchSizes: ids.map(() => chosen.batch_size),
      localEpochs: ids.map(() => chosen.epochs),
    };
  },
};
