// A placer that takes the cheapest site with room.

// Least reliability of a site for work, from 0 to 1.
let reliabilityMin = 0;

const invalid = (text) => ({ tag: "invalid-config", val: text });

// The largest u32 and u64 arrive as negative numbers from this engine; these take that back. An id
// goes back to the host as it came.
const u32 = (number) => number >>> 0;
const u64 = (number) => (number < 0 ? number + 2 ** 64 : number);

export const lifecycle = {
  describe() {
    return { name: "{{name}}", version: "0.1.0", summary: "the cheapest site with room" };
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
      if (name !== "reliability_min") {
        throw invalid(`unknown setting \`${name}\`; known: reliability_min`);
      }
      if (typeof value !== "number" || !(value >= 0 && value <= 1)) {
        throw invalid("`reliability_min` must be a number from 0 to 1");
      }
      reliabilityMin = value;
    }
  },

  // There is nothing to carry over to a newer version.
  snapshot() {
    return new Uint8Array(0);
  },

  restore(_state) {},
};

export const placement = {
  place(_nowMs, sites, workloads) {
    const free = sites.map((site) => ({
      site,
      cpus: u32(site.cpusFree),
      gpus: u32(site.gpusFree),
      memoryMib: u64(site.memoryFreeMib),
    }));
    const assignments = [];
    // The sort is stable, so that equal workloads stay in the host's order.
    workloads.sort((a, b) => u32(b.priority) - u32(a.priority));
    for (const workload of workloads) {
      const cpus = u32(workload.cpus);
      const gpus = u32(workload.gpus);
      const memoryMib = u64(workload.memoryMib);
      let best;
      let least = Infinity;
      for (const one of free) {
        const hasRoom = one.cpus >= cpus && one.gpus >= gpus && one.memoryMib >= memoryMib;
        const isAllowed =
          one.site.reliability >= reliabilityMin && (!one.site.isSpot || workload.toleratesSpot);
        const price = cost(one.site, workload);
        if (hasRoom && isAllowed && Number.isFinite(price) && price < least) {
          best = one;
          least = price;
        }
      }
      if (best === undefined) continue;
      // What is taken here is not free for the next workload.
      best.cpus -= cpus;
      best.gpus -= gpus;
      best.memoryMib -= memoryMib;
      assignments.push({
        workload: workload.id,
        site: best.site.id,
        score: -least,
        reason: `the cheapest with room, at ${least.toFixed(2)}`,
      });
    }
    return assignments;
  },

  rankSites(purpose, sites) {
    const ranked = sites.map((site) => ({ id: site.id, badness: badness(purpose, site) }));
    ranked.sort((a, b) => compare(a.badness, b.badness));
    return ranked.map(({ id }) => id);
  },

  placeCache(item, sites) {
    const value = (site) => (item.isLatencySensitive ? site.latencyMs : site.storagePricePerGib);
    const affordable = sites.filter(
      (site) => item.sizeGib * site.storagePricePerGib <= item.budgetPerMonth,
    );
    affordable.sort((a, b) => compare(value(a), value(b)));
    return item.requestsPerHour > 0 ? affordable.slice(0, 1).map(({ id }) => id) : [];
  },
};

function cost(site, workload) {
  return (
    workload.computeHours * site.computePricePerHour +
    workload.storageGib * site.storagePricePerGib +
    workload.networkGib * site.networkPricePerGib
  );
}

// What counts against a site; less is better, and what cannot be told is worst.
function badness(purpose, site) {
  let value = site.computePricePerHour * site.latencyMs;
  if (purpose === "training") value = site.computePricePerHour;
  if (purpose === "inference") value = site.latencyMs;
  return Number.isNaN(value) ? Infinity : value;
}

// For a sort: the smaller number first, and what is no number last.
function compare(a, b) {
  if (a < b) return -1;
  if (a > b) return 1;
  return Number.isNaN(a) - Number.isNaN(b);
}
