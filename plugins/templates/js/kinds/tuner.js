// A tuner that moves one whole-number setting by 1, and turns round when that did not help.

// The name of the setting to tune. Without one, nothing is proposed.
let tuned = "";
let step = 1;

const invalid = (text) => ({ tag: "invalid-config", val: text });

export const lifecycle = {
  describe() {
    return { name: "{{name}}", version: "0.1.0", summary: "moves one whole-number setting by 1" };
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
      if (name !== "parameter") throw invalid(`unknown setting \`${name}\`; known: parameter`);
      if (typeof value !== "string") throw invalid("`parameter` must be a string");
      tuned = value;
    }
  },

  // There is nothing to carry over to a newer version.
  snapshot() {
    return new Uint8Array(0);
  },

  restore(_state) {},
};

export const tuning = {
  propose(_facts, parameters, history) {
    // Not before something was measured, and one trial at a time.
    const latest = history.at(-1);
    if (latest === undefined || latest.trial != null) return null;
    const parameter = parameters.find((one) => one.name === tuned);
    if (parameter?.current.tag !== "integer" || parameter.domain.tag !== "integers") return null;
    const current = parameter.current.val;
    const [from, to] = parameter.domain.val;
    const next = current + step;
    // This engine has s64 as floating-point numbers: beyond 2^53, a step of 1 may lead nowhere.
    if (next === current || next < from || next > to) {
      step = -step;
      return null;
    }
    return {
      changes: [{ parameter: tuned, to: { tag: "integer", val: next } }],
      expectedGain: 0.01,
      lossMax: 0.05,
      trialMs: 10_000,
      reason: `${tuned} from ${current} to ${next}`,
    };
  },

  conclude(_trial, _before, _after, isKept) {
    if (!isKept) step = -step;
  },
};
