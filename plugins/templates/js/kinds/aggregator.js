// An aggregator that takes the mean of the updates, weighted by samples.

// The server's learning rate, above 0.
let learningRate = 1;

const invalid = (text) => ({ tag: "invalid-config", val: text });

// The largest u64 arrive as small negative numbers from this engine; this takes that back.
const u64 = (number) => (number < 0 ? number + 2 ** 64 : number);

export const lifecycle = {
  describe() {
    return {
      name: "{{name}}",
      version: "0.1.0",
      summary: "the mean of the updates, weighted by samples",
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
      if (name !== "learning_rate") {
        throw invalid(`unknown setting \`${name}\`; known: learning_rate`);
      }
      // A plan holds it as an f32, in which it may become 0 or infinite.
      const rate = typeof value === "number" ? Math.fround(value) : NaN;
      if (!(rate > 0 && rate < Infinity)) {
        throw invalid("`learning_rate` must be a number above 0");
      }
      learningRate = rate;
    }
  },

  // There is nothing to carry over to a newer version.
  snapshot() {
    return new Uint8Array(0);
  },

  restore(_state) {},
};

export const aggregation = {
  wanted() {
    return { cosines: false, squaredDistances: false };
  },

  admit(context, update) {
    if (!Number.isFinite(update.l2Norm)) {
      return { tag: "refuse", val: "the update is not finite" };
    }
    // Numbers above 2^31 arrive as negative ones from this engine; `>>> 0` takes that back.
    const isComplete = (context.buffered >>> 0) + 1 >= context.clientsAsked >>> 0;
    return { tag: isComplete ? "accept-and-aggregate" : "accept" };
  },

  makePlan(_context, updates) {
    const areGood = updates.l2Norms.map((norm) => Number.isFinite(norm));
    const count = areGood.filter((isGood) => isGood).length;
    if (count === 0) return { tag: "keep-model", val: "no update is usable" };
    const samples = updates.samples.map(u64);
    const total = samples.reduce((sum, one, index) => (areGood[index] ? sum + one : sum), 0);
    // Where no client says how many samples it has, all count alike.
    const share = (one) => (total > 0 ? one / total : 1 / count);
    const refused = [];
    areGood.forEach((isGood, index) => {
      if (!isGood) refused.push({ index, reason: "the update is not finite" });
    });
    return {
      tag: "aggregate",
      val: {
        weights: samples.map((one, index) => (areGood[index] ? share(one) : 0)),
        reducer: { tag: "linear" },
        optimizer: { tag: "none" },
        learningRate,
        clipNorm: 0,
        noiseMultiplier: 0,
        refused,
        reason: `mean of ${count} updates, weighted by samples`,
      },
    };
  },
};
