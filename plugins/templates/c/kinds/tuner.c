// A tuner that moves one whole-number setting by 1, and turns round when that did not help.

#include <stdlib.h>
#include <string.h>

#include "tuner.h"

typedef exports_truststram_policy_tuning_parameter_t parameter_t;

// The name of the setting to tune. Without one, nothing is proposed.
static tuner_string_t tuned = {NULL, 0};
static int64_t step = 1;

// Memory for an answer. The host replaces an instance that traps.
static void *allocate(size_t bytes) {
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

// Takes a string. One with an escape in it is refused, as no setting has such a name.
static bool take_string(text_t *text, tuner_string_t *string) {
  if (text->at == text->end || *text->at != '"') return false;
  const char *begin = ++text->at;
  while (text->at < text->end && *text->at != '"') {
    if (*text->at == '\\' || (unsigned char)*text->at < ' ') return false;
    text->at++;
  }
  if (text->at == text->end) return false;
  tuner_string_free(string);
  tuner_string_dup_n(string, begin, (size_t)(text->at - begin));
  text->at++;
  return true;
}

// Reads one JSON object with any of the settings.
static bool read_settings(text_t text) {
  if (!take(&text, "{")) return false;
  if (!take(&text, "}")) {
    do {
      if (!take(&text, "\"parameter\"") || !take(&text, ":")) return false;
      if (!take_string(&text, &tuned)) return false;
    } while (take(&text, ","));
    if (!take(&text, "}")) return false;
  }
  return text.at == text.end;
}

void exports_truststram_policy_lifecycle_describe(
    exports_truststram_policy_lifecycle_plugin_info_t *info) {
  tuner_string_dup(&info->name, "{{name}}");
  tuner_string_dup(&info->version, "0.1.0");
  tuner_string_dup(&info->summary, "moves one whole-number setting by 1");
}

bool exports_truststram_policy_lifecycle_configure(
    tuner_string_t *settings, exports_truststram_policy_lifecycle_error_t *error) {
  const char *begin = (const char *)settings->ptr;
  bool is_good = read_settings((text_t){begin, begin + settings->len});
  tuner_string_free(settings);
  if (!is_good) {
    error->tag = TRUSTSTRAM_POLICY_TYPES_ERROR_INVALID_CONFIG;
    tuner_string_dup(&error->val.invalid_config,
                   "the one setting is `parameter`, a string without escapes");
  }
  return is_good;
}

// There is nothing to carry over to a newer version.
void exports_truststram_policy_lifecycle_snapshot(tuner_list_u8_t *state) {
  state->ptr = NULL;
  state->len = 0;
}

bool exports_truststram_policy_lifecycle_restore(
    tuner_list_u8_t *state, exports_truststram_policy_lifecycle_error_t *error) {
  (void)error;
  tuner_list_u8_free(state);
  return true;
}

// The parameter that is tuned; NULL if it is not there, or no whole number.
static const parameter_t *find(
    const exports_truststram_policy_tuning_list_parameter_t *parameters) {
  for (size_t at = 0; at < parameters->len; at++) {
    const parameter_t *one = &parameters->ptr[at];
    if (one->name.len != tuned.len || memcmp(one->name.ptr, tuned.ptr, tuned.len) != 0) continue;
    bool is_whole = one->current.tag == EXPORTS_TRUSTSTRAM_POLICY_TUNING_VALUE_INTEGER &&
                    one->domain.tag == EXPORTS_TRUSTSTRAM_POLICY_TUNING_DOMAIN_INTEGERS;
    return is_whole ? one : NULL;
  }
  return NULL;
}

// Writes a number behind `text`. `snprintf` would import WASI, which no plugin is given.
static void append_integer(char *text, int64_t value) {
  char digits[21] = "";
  size_t at = sizeof digits - 1;
  uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
  do {
    digits[--at] = (char)('0' + left % 10);
    left /= 10;
  } while (left > 0);
  if (value < 0) digits[--at] = '-';
  strcat(text, digits + at);
}

// A trial with `tuned` moved from `current` to `next`.
static void propose_move(int64_t current, int64_t next,
                         exports_truststram_policy_tuning_proposal_t *proposal) {
  exports_truststram_policy_tuning_change_t *change = allocate(sizeof *change);
  tuner_string_dup_n(&change->parameter, (const char *)tuned.ptr, tuned.len);
  change->to.tag = EXPORTS_TRUSTSTRAM_POLICY_TUNING_VALUE_INTEGER;
  change->to.val.integer = next;
  *proposal = (exports_truststram_policy_tuning_proposal_t){
      .changes = {change, 1},
      .expected_gain = 0.01,
      .loss_max = 0.05,
      .trial_ms = 10000,
  };
  char *reason = allocate(tuned.len + 64);
  memcpy(reason, tuned.ptr, tuned.len);
  reason[tuned.len] = '\0';
  strcat(reason, " from ");
  append_integer(reason, current);
  strcat(reason, " to ");
  append_integer(reason, next);
  tuner_string_set(&proposal->reason, reason);
}

bool exports_truststram_policy_tuning_propose(
    exports_truststram_policy_tuning_list_fact_t *facts,
    exports_truststram_policy_tuning_list_parameter_t *parameters,
    exports_truststram_policy_tuning_list_observation_t *history,
    exports_truststram_policy_tuning_option_proposal_t *proposal,
    exports_truststram_policy_tuning_error_t *error) {
  (void)error;
  proposal->is_some = false;
  const parameter_t *parameter = find(parameters);
  // Not before something was measured, and one trial at a time.
  bool is_time = history->len > 0 && !history->ptr[history->len - 1].trial.is_some;
  if (is_time && parameter != NULL) {
    int64_t current = parameter->current.val.integer;
    int64_t from = parameter->domain.val.integers.f0;
    int64_t to = parameter->domain.val.integers.f1;
    int64_t next;
    bool is_beyond = __builtin_add_overflow(current, step, &next);
    if (is_beyond || next < from || next > to) {
      step = -step;
    } else {
      proposal->is_some = true;
      propose_move(current, next, &proposal->val);
    }
  }
  exports_truststram_policy_tuning_list_fact_free(facts);
  exports_truststram_policy_tuning_list_parameter_free(parameters);
  exports_truststram_policy_tuning_list_observation_free(history);
  return true;
}

void exports_truststram_policy_tuning_conclude(uint64_t trial, double before, double after,
                                               bool is_kept) {
  (void)trial, (void)before, (void)after;
  if (!is_kept) step = -step;
}
