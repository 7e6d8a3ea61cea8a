// A batcher that waits until a request has used a share of its target, then runs all that wait.

let share = 0.5;

const invalid = (text) => ({ tag: "invalid-config", val: text });

export const lifecycle = {
  describe() {
    return {
      name: "js-batcher",
      version: "0.1.0",
      summary: "runs what waits once the oldest has used its share of the target",
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
      if (name !== "share") throw invalid(`unknown setting \`${name}\`; known: share`);
      if (typeof value !== "number" || !(value >= 0 && value <= 1)) {
        throw invalid("`share` must be a number from 0 to 1");
      }
      share = value;
    }
  },

  snapshot() {
    return new Uint8Array(0);
  },

  restore(_state) {},
};

export const batching = {
  decide(_bucket, queued, oldestUs, batchMax, targetUs) {
    // Numbers above 2^31 arrive as negative ones from this engine; `>>> 0` takes that back.
    oldestUs >>>= 0;
    targetUs >>>= 0;
    const leftUs = Math.floor(share * targetUs) - oldestUs;
    if (queued >= batchMax || leftUs <= 0) {
      return { take: Math.min(queued, batchMax), waitUs: 0 };
    }
    return { take: 0, waitUs: leftUs };
  },
};
