// A placer that takes the cheapest site with room.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "placer.h"

typedef exports_truststram_policy_placement_site_t site_t;
typedef exports_truststram_policy_placement_workload_t workload_t;

// Least reliability of a site for work, from 0 to 1.
static double reliability_min = 0.0;

// Memory for a list. The host frees no empty list, and replaces an instance that traps.
static void *allocate(size_t bytes) {
  if (bytes == 0) return NULL;
  void *memory = malloc(bytes);
  if (memory == NULL) abort();
  return memory;
}

// What is left of the settings.
typedef struct {
  const char *at;
  const char *end;
} text_t;

// Skips one character of `these`; false if another comes next.
static bool skip(text_t *text, const char *these) {
  if (text->at == text->end || !memchr(these, *text->at, strlen(these))) return false;
  text->at++;
  return true;
}

static void skip_white(text_t *text) {
  while (skip(text, " \t\r\n")) continue;
}

static bool skip_digits(text_t *text) {
  const char *begin = text->at;
  while (skip(text, "0123456789")) continue;
  return text->at > begin;
}

// Takes `word` and the white space around it, if it comes next.
static bool take(text_t *text, const char *word) {
  size_t length = strlen(word);
  skip_white(text);
  if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0) return false;
  text->at += length;
  skip_white(text);
  return true;
}

// Takes a number as JSON writes it, which is less than `strtod` would take.
static bool take_number(text_t *text, double *number) {
  const char *begin = text->at;
  skip(text, "-");
  bool is_good = skip(text, "0") || skip_digits(text);
  if (skip(text, ".")) is_good = skip_digits(text) && is_good;
  if (skip(text, "eE")) {
    skip(text, "+-");
    is_good = skip_digits(text) && is_good;
  }
  // An object goes on behind its numbers, so that `strtod` stops before the end of the text.
  if (!is_good || text->at == text->end) return false;
  *number = strtod(begin, NULL);
  return true;
}

// Reads one JSON object with any of the settings.
static bool read_settings(text_t text) {
  if (!take(&text, "{")) return false;
  if (!take(&text, "}")) {
    do {
      if (!take(&text, "\"reliability_min\"") || !take(&text, ":")) return false;
      if (!take_number(&text, &reliability_min)) return false;
      if (!(reliability_min >= 0.0 && reliability_min <= 1.0)) return false;
    } while (take(&text, ","));
    if (!take(&text, "}")) return false;
  }
  return text.at == text.end;
}

void exports_truststram_policy_lifecycle_describe(
    exports_truststram_policy_lifecycle_plugin_info_t *info) {
  placer_string_dup(&info->name, "{{name}}");
  placer_string_dup(&info->version, "0.1.0");
  placer_string_dup(&info->summary, "the cheapest site with room");
}

bool exports_truststram_policy_lifecycle_configure(
    placer_string_t *settings, exports_truststram_policy_lifecycle_error_t *error) {
  const char *begin = (const char *)settings->ptr;
  bool is_good = read_settings((text_t){begin, begin + settings->len});
  placer_string_free(settings);
  if (!is_good) {
    error->tag = TRUSTSTRAM_POLICY_TYPES_ERROR_INVALID_CONFIG;
    placer_string_dup(&error->val.invalid_config,
                    "the one setting is `reliability_min`, a number from 0 to 1");
  }
  return is_good;
}

// There is nothing to carry over to a newer version.
void exports_truststram_policy_lifecycle_snapshot(placer_list_u8_t *state) {
  state->ptr = NULL;
  state->len = 0;
}

bool exports_truststram_policy_lifecycle_restore(
    placer_list_u8_t *state, exports_truststram_policy_lifecycle_error_t *error) {
  (void)error;
  placer_list_u8_free(state);
  return true;
}

// What to sort by, and what of.
typedef struct {
  double key;
  size_t index;
} ranked_t;

// For `qsort`, which is not stable: equal ones stay in the host's order by their index.
static int compare(const void *left, const void *right) {
  const ranked_t *a = left, *b = right;
  if (a->key != b->key) return a->key < b->key ? -1 : 1;
  return a->index < b->index ? -1 : 1;
}

static bool has_room(const site_t *site, const workload_t *workload) {
  return site->cpus_free >= workload->cpus && site->gpus_free >= workload->gpus &&
         site->memory_free_mib >= workload->memory_mib &&
         (!site->is_spot || workload->tolerates_spot);
}

static double cost(const site_t *site, const workload_t *workload) {
  return workload->compute_hours * site->compute_price_per_hour +
         workload->storage_gib * site->storage_price_per_gib +
         workload->network_gib * site->network_price_per_gib;
}

// Writes a number behind `text`. `snprintf` would import WASI, which no plugin is given.
static void append_whole(char *text, uint64_t value) {
  char digits[21] = "";
  size_t at = sizeof digits - 1;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  strcat(text, digits + at);
}

// Writes a price with two decimals behind `text`.
static void append_price(char *text, double price) {
  if (fabs(price) >= 1e15) {
    strcat(text, "more than 10^15");
    return;
  }
  uint64_t hundredths = (uint64_t)rint(fabs(price) * 100.0);
  if (price < 0.0) strcat(text, "-");
  append_whole(text, hundredths / 100);
  char tenths = (char)('0' + hundredths / 10 % 10), rest = (char)('0' + hundredths % 10);
  strcat(text, (char[]){'.', tenths, rest, '\0'});
}

bool exports_truststram_policy_placement_place(
    uint64_t now_ms, exports_truststram_policy_placement_list_site_t *sites,
    exports_truststram_policy_placement_list_workload_t *workloads,
    exports_truststram_policy_placement_list_assignment_t *assignments,
    exports_truststram_policy_placement_error_t *error) {
  (void)now_ms, (void)error;
  ranked_t *order = allocate(workloads->len * sizeof *order);
  for (size_t index = 0; index < workloads->len; index++) {
    order[index] = (ranked_t){-(double)workloads->ptr[index].priority, index};
  }
  qsort(order, workloads->len, sizeof *order, compare);
  assignments->ptr = allocate(workloads->len * sizeof *assignments->ptr);
  assignments->len = 0;
  for (size_t at = 0; at < workloads->len; at++) {
    const workload_t *workload = &workloads->ptr[order[at].index];
    site_t *best = NULL;
    double least = INFINITY;
    for (site_t *site = sites->ptr; site < sites->ptr + sites->len; site++) {
      if (!has_room(site, workload) || !(site->reliability >= reliability_min)) continue;
      double price = cost(site, workload);
      if (isfinite(price) && price < least) best = site, least = price;
    }
    if (best == NULL) continue;
    // What is taken here is not free for the next workload.
    best->cpus_free -= workload->cpus;
    best->gpus_free -= workload->gpus;
    best->memory_free_mib -= workload->memory_mib;
    char reason[64] = "the cheapest with room, at ";
    append_price(reason, least);
    exports_truststram_policy_placement_assignment_t *added =
        &assignments->ptr[assignments->len++];
    added->workload = workload->id;
    added->site = best->id;
    added->score = -least;
    placer_string_dup(&added->reason, reason);
  }
  if (assignments->len == 0) free(assignments->ptr);
  free(order);
  exports_truststram_policy_placement_list_site_free(sites);
  exports_truststram_policy_placement_list_workload_free(workloads);
  return true;
}

// What counts against a site; less is better, and what cannot be told is worst.
static double badness(exports_truststram_policy_placement_purpose_t purpose, const site_t *site) {
  double value = site->compute_price_per_hour * site->latency_ms;
  if (purpose == EXPORTS_TRUSTSTRAM_POLICY_PLACEMENT_PURPOSE_TRAINING) {
    value = site->compute_price_per_hour;
  } else if (purpose == EXPORTS_TRUSTSTRAM_POLICY_PLACEMENT_PURPOSE_INFERENCE) {
    value = site->latency_ms;
  }
  return isnan(value) ? INFINITY : value;
}

bool exports_truststram_policy_placement_rank_sites(
    exports_truststram_policy_placement_purpose_t purpose,
    exports_truststram_policy_placement_list_site_t *sites, placer_list_u32_t *ids,
    exports_truststram_policy_placement_error_t *error) {
  (void)error;
  ranked_t *order = allocate(sites->len * sizeof *order);
  for (size_t index = 0; index < sites->len; index++) {
    order[index] = (ranked_t){badness(purpose, &sites->ptr[index]), index};
  }
  qsort(order, sites->len, sizeof *order, compare);
  ids->ptr = allocate(sites->len * sizeof *ids->ptr);
  ids->len = sites->len;
  for (size_t at = 0; at < sites->len; at++) ids->ptr[at] = sites->ptr[order[at].index].id;
  free(order);
  exports_truststram_policy_placement_list_site_free(sites);
  return true;
}

bool exports_truststram_policy_placement_place_cache(
    exports_truststram_policy_placement_cache_item_t *item,
    exports_truststram_policy_placement_list_site_t *sites, placer_list_u32_t *ids,
    exports_truststram_policy_placement_error_t *error) {
  (void)error;
  const site_t *best = NULL;
  double least = NAN;
  for (const site_t *site = sites->ptr; site < sites->ptr + sites->len; site++) {
    if (!(item->size_gib * site->storage_price_per_gib <= item->budget_per_month)) continue;
    double value = item->is_latency_sensitive ? site->latency_ms : site->storage_price_per_gib;
    // What cannot be told comes last.
    if (best == NULL || value < least || (isnan(least) && !isnan(value))) {
      best = site, least = value;
    }
  }
  ids->len = best != NULL && item->requests_per_hour > 0.0 ? 1 : 0;
  ids->ptr = allocate(ids->len * sizeof *ids->ptr);
  if (ids->len > 0) ids->ptr[0] = best->id;
  exports_truststram_policy_placement_list_site_free(sites);
  return true;
}
