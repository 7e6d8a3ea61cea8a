// A router that picks the least loaded of the healthy candidates.

#include <stdlib.h>
#include <string.h>

#include "router.h"

enum { HEALTHY = 1, DRAINING = 2 };

// Leaves the choice to the host.
static const uint32_t NO_CHOICE = UINT32_MAX;

// A candidate that may be picked.
typedef struct {
  uint32_t index;
  uint32_t weight;
  // As of the table, plus the picks since.
  uint32_t in_flight;
  // 0 where no limit is known.
  uint32_t capacity;
} candidate_t;

// Tries of a request after which the host chooses.
static uint32_t attempts_max = 3;
static candidate_t *candidates = NULL;
static size_t candidates_len = 0;
static uint32_t last = NO_CHOICE;

// Memory for a list. The host replaces an instance that traps.
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

static void skip_white(text_t *text) {
  while (text->at < text->end && memchr(" \t\r\n", *text->at, 4)) text->at++;
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

// Takes a whole number from 1 to `most`.
static bool take_whole(text_t *text, uint32_t most, uint32_t *number) {
  const char *begin = text->at;
  uint64_t value = 0;
  while (text->at < text->end && *text->at >= '0' && *text->at <= '9' && value <= most) {
    value = value * 10 + (uint64_t)(*text->at++ - '0');
  }
  // No number of JSON begins with a 0, but for 0 itself.
  if (value < 1 || value > most || *begin == '0') return false;
  *number = (uint32_t)value;
  return true;
}

// Reads one JSON object with any of the settings.
static bool read_settings(text_t text) {
  if (!take(&text, "{")) return false;
  if (!take(&text, "}")) {
    do {
      if (!take(&text, "\"attempts_max\"") || !take(&text, ":")) return false;
      if (!take_whole(&text, UINT32_MAX, &attempts_max)) return false;
    } while (take(&text, ","));
    if (!take(&text, "}")) return false;
  }
  return text.at == text.end;
}

void exports_truststram_policy_lifecycle_describe(
    exports_truststram_policy_lifecycle_plugin_info_t *info) {
  router_string_dup(&info->name, "{{name}}");
  router_string_dup(&info->version, "0.1.0");
  router_string_dup(&info->summary, "the least loaded of the healthy candidates");
}

bool exports_truststram_policy_lifecycle_configure(
    router_string_t *settings, exports_truststram_policy_lifecycle_error_t *error) {
  const char *begin = (const char *)settings->ptr;
  bool is_good = read_settings((text_t){begin, begin + settings->len});
  router_string_free(settings);
  if (!is_good) {
    error->tag = TRUSTSTRAM_POLICY_TYPES_ERROR_INVALID_CONFIG;
    router_string_dup(&error->val.invalid_config,
                      "the one setting is `attempts_max`, a whole number from 1 to 4294967295");
  }
  return is_good;
}

// There is nothing to carry over to a newer version.
void exports_truststram_policy_lifecycle_snapshot(router_list_u8_t *state) {
  state->ptr = NULL;
  state->len = 0;
}

bool exports_truststram_policy_lifecycle_restore(
    router_list_u8_t *state, exports_truststram_policy_lifecycle_error_t *error) {
  (void)error;
  router_list_u8_free(state);
  return true;
}

void exports_truststram_policy_routing_observe(exports_truststram_policy_routing_table_t *table) {
  free(candidates);
  candidates = allocate(table->states.len * sizeof *candidates);
  candidates_len = 0;
  for (size_t index = 0; index < table->states.len; index++) {
    if ((table->states.ptr[index] & (HEALTHY | DRAINING)) != HEALTHY) continue;
    uint32_t weight = table->weights.ptr[index];
    candidates[candidates_len++] = (candidate_t){
        .index = (uint32_t)index,
        .weight = weight > 0 ? weight : 1,
        .in_flight = table->in_flight.ptr[index],
        .capacity = table->capacities.ptr[index],
    };
  }
  last = NO_CHOICE;
  exports_truststram_policy_routing_table_free(table);
}

uint32_t exports_truststram_policy_routing_pick(uint64_t key, uint32_t cost_hint,
                                                uint32_t attempt) {
  (void)key, (void)cost_hint;
  if (attempt >= attempts_max) return NO_CHOICE;
  // The host asks again because the last pick was no use.
  uint32_t avoided = attempt > 0 ? last : NO_CHOICE;
  candidate_t *best = NULL;
  for (candidate_t *one = candidates; one < candidates + candidates_len; one++) {
    bool is_full = one->capacity > 0 && one->in_flight >= one->capacity;
    if (one->index == avoided || is_full) continue;
    // Load is in flight per weight; a / b < c / d without a division.
    if (best == NULL ||
        (uint64_t)one->in_flight * best->weight < (uint64_t)best->in_flight * one->weight) {
      best = one;
    }
  }
  last = NO_CHOICE;
  if (best != NULL) {
    if (best->in_flight < UINT32_MAX) best->in_flight++;
    last = best->index;
  }
  return last;
}
