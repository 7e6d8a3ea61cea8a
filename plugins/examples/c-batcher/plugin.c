// A batcher that runs at most so many requests at a time, whatever else waits: a model whose large
// batches are slow answers evenly then.

#include <string.h>

#include "batcher.h"

static uint32_t take_max = UINT32_MAX;

void exports_truststram_policy_lifecycle_describe(
    exports_truststram_policy_lifecycle_plugin_info_t *info) {
  batcher_string_dup(&info->name, "c-batcher");
  batcher_string_dup(&info->version, "0.1.0");
  batcher_string_dup(&info->summary, "runs at most take_max requests at a time");
}

// Reads over white space.
static size_t skip(const char *text, size_t length, size_t at) {
  while (at < length && strchr(" \t\r\n", text[at])) at++;
  return at;
}

// Reads `word` at `at`, with white space around it; 0 if something else is there.
static size_t expect(const char *text, size_t length, size_t at, const char *word) {
  size_t word_length = strlen(word);
  at = skip(text, length, at);
  if (length - at < word_length || memcmp(text + at, word, word_length) != 0) return 0;
  return skip(text, length, at + word_length);
}

// Reads `{}` or `{"take_max": N}` with N from 1 to 65536.
static bool parse(const char *text, size_t length) {
  size_t at = expect(text, length, 0, "{");
  if (!at) return false;
  if (expect(text, length, at, "}") == length) {
    take_max = UINT32_MAX;
    return true;
  }
  at = expect(text, length, at, "\"take_max\"");
  if (!at || !(at = expect(text, length, at, ":"))) return false;
  uint32_t number = 0;
  size_t begin = at;
  while (at < length && text[at] >= '0' && text[at] <= '9' && number <= 65536) {
    number = number * 10 + (uint32_t)(text[at++] - '0');
  }
  if (at == begin || number < 1 || number > 65536) return false;
  if (expect(text, length, at, "}") != length) return false;
  take_max = number;
  return true;
}

bool exports_truststram_policy_lifecycle_configure(
    batcher_string_t *settings, exports_truststram_policy_lifecycle_error_t *error) {
  bool is_good = parse((const char *)settings->ptr, settings->len);
  batcher_string_free(settings);
  if (!is_good) {
    error->tag = TRUSTSTRAM_POLICY_TYPES_ERROR_INVALID_CONFIG;
    batcher_string_dup(&error->val.invalid_config,
                       "the one setting is `take_max`, a whole number from 1 to 65536");
  }
  return is_good;
}

void exports_truststram_policy_lifecycle_snapshot(batcher_list_u8_t *state) {
  state->ptr = NULL;
  state->len = 0;
}

bool exports_truststram_policy_lifecycle_restore(
    batcher_list_u8_t *state, exports_truststram_policy_lifecycle_error_t *error) {
  (void)error;
  batcher_list_u8_free(state);
  return true;
}

void exports_truststram_policy_batching_decide(
    uint32_t bucket, uint32_t queued, uint32_t oldest_us, uint32_t batch_max, uint32_t target_us,
    exports_truststram_policy_batching_decision_t *decision) {
  (void)bucket, (void)oldest_us, (void)target_us;
  uint32_t most = batch_max < take_max ? batch_max : take_max;
  decision->take = queued < most ? queued : most;
  decision->wait_us = 0;
}
