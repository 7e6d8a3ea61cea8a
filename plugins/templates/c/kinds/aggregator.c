// An aggregator that takes the mean of the updates, weighted by samples.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator.h"

// The server's learning rate, above 0.
static float learning_rate = 1.0f;

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
      if (!take(&text, "\"learning_rate\"") || !take(&text, ":")) return false;
      double number;
      if (!take_number(&text, &number)) return false;
      // A plan holds it as a float, in which it may become 0 or infinite.
      learning_rate = (float)number;
      if (!(learning_rate > 0.0f && isfinite(learning_rate))) return false;
    } while (take(&text, ","));
    if (!take(&text, "}")) return false;
  }
  return text.at == text.end;
}

void exports_truststram_policy_lifecycle_describe(
    exports_truststram_policy_lifecycle_plugin_info_t *info) {
  aggregator_string_dup(&info->name, "{{name}}");
  aggregator_string_dup(&info->version, "0.1.0");
  aggregator_string_dup(&info->summary, "the mean of the updates, weighted by samples");
}

bool exports_truststram_policy_lifecycle_configure(
    aggregator_string_t *settings, exports_truststram_policy_lifecycle_error_t *error) {
  const char *begin = (const char *)settings->ptr;
  bool is_good = read_settings((text_t){begin, begin + settings->len});
  aggregator_string_free(settings);
  if (!is_good) {
    error->tag = TRUSTSTRAM_POLICY_TYPES_ERROR_INVALID_CONFIG;
    aggregator_string_dup(&error->val.invalid_config,
                        "the one setting is `learning_rate`, a number above 0");
  }
  return is_good;
}

// There is nothing to carry over to a newer version.
void exports_truststram_policy_lifecycle_snapshot(aggregator_list_u8_t *state) {
  state->ptr = NULL;
  state->len = 0;
}

bool exports_truststram_policy_lifecycle_restore(
    aggregator_list_u8_t *state, exports_truststram_policy_lifecycle_error_t *error) {
  (void)error;
  aggregator_list_u8_free(state);
  return true;
}

exports_truststram_policy_aggregation_costly_facts_t
exports_truststram_policy_aggregation_wanted(void) {
  return 0;
}

bool exports_truststram_policy_aggregation_admit(
    exports_truststram_policy_aggregation_round_context_t *context,
    exports_truststram_policy_aggregation_update_facts_t *update,
    exports_truststram_policy_aggregation_admission_t *admission,
    exports_truststram_policy_aggregation_error_t *error) {
  (void)error;
  if (!isfinite(update->l2_norm)) {
    admission->tag = EXPORTS_TRUSTSTRAM_POLICY_AGGREGATION_ADMISSION_REFUSE;
    aggregator_string_dup(&admission->val.refuse, "the update is not finite");
  } else if ((uint64_t)context->buffered + 1 >= context->clients_asked) {
    admission->tag = EXPORTS_TRUSTSTRAM_POLICY_AGGREGATION_ADMISSION_ACCEPT_AND_AGGREGATE;
  } else {
    admission->tag = EXPORTS_TRUSTSTRAM_POLICY_AGGREGATION_ADMISSION_ACCEPT;
  }
  return true;
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

// A plan for these updates, of which `count` are finite and have `total` samples.
static void plan_mean(const exports_truststram_policy_aggregation_update_columns_t *updates,
                      size_t count, double total,
                      exports_truststram_policy_aggregation_plan_t *plan) {
  size_t length = updates->l2_norms.len;
  float *weights = allocate(length * sizeof *weights);
  exports_truststram_policy_aggregation_refusal_t *refused =
      allocate((length - count) * sizeof *refused);
  size_t refused_len = 0;
  for (size_t index = 0; index < length; index++) {
    if (isfinite(updates->l2_norms.ptr[index])) {
      // Where no client says how many samples it has, all count alike.
      double share =
          total > 0.0 ? (double)updates->samples.ptr[index] / total : 1.0 / (double)count;
      weights[index] = (float)share;
    } else {
      weights[index] = 0.0f;
      refused[refused_len].index = (uint32_t)index;
      aggregator_string_dup(&refused[refused_len++].reason, "the update is not finite");
    }
  }
  char reason[64] = "mean of ";
  append_whole(reason, count);
  strcat(reason, " updates, weighted by samples");
  *plan = (exports_truststram_policy_aggregation_plan_t){
      .weights = {weights, length},
      .reducer = {.tag = EXPORTS_TRUSTSTRAM_POLICY_AGGREGATION_REDUCER_LINEAR},
      .optimizer = {.tag = EXPORTS_TRUSTSTRAM_POLICY_AGGREGATION_SERVER_OPTIMIZER_NONE},
      .learning_rate = learning_rate,
      .clip_norm = 0.0f,
      .noise_multiplier = 0.0f,
      .refused = {refused, refused_len},
  };
  aggregator_string_dup(&plan->reason, reason);
}

bool exports_truststram_policy_aggregation_make_plan(
    exports_truststram_policy_aggregation_round_context_t *context,
    exports_truststram_policy_aggregation_update_columns_t *updates,
    exports_truststram_policy_aggregation_outcome_t *outcome,
    exports_truststram_policy_aggregation_error_t *error) {
  (void)context, (void)error;
  size_t count = 0;
  double total = 0.0;
  for (size_t index = 0; index < updates->l2_norms.len; index++) {
    if (!isfinite(updates->l2_norms.ptr[index])) continue;
    count++;
    total += (double)updates->samples.ptr[index];
  }
  if (count == 0) {
    outcome->tag = EXPORTS_TRUSTSTRAM_POLICY_AGGREGATION_OUTCOME_KEEP_MODEL;
    aggregator_string_dup(&outcome->val.keep_model, "no update is usable");
  } else {
    outcome->tag = EXPORTS_TRUSTSTRAM_POLICY_AGGREGATION_OUTCOME_AGGREGATE;
    plan_mean(updates, count, total, &outcome->val.aggregate);
  }
  exports_truststram_policy_aggregation_update_columns_free(updates);
  return true;
}
