// A selector that takes the clients with the most samples.

#include <stdlib.h>
#include <string.h>

#include "selector.h"

// Examples per step, from 1 to 65,536.
static uint32_t batch_size = 32;
// Passes over the client's examples, from 1 to 1,000.
static uint32_t epochs = 1;

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
      bool is_batch_size = take(&text, "\"batch_size\"");
      if (!is_batch_size && !take(&text, "\"epochs\"")) return false;
      if (!take(&text, ":")) return false;
      bool is_good = is_batch_size ? take_whole(&text, 65536, &batch_size)
                                   : take_whole(&text, 1000, &epochs);
      if (!is_good) return false;
    } while (take(&text, ","));
    if (!take(&text, "}")) return false;
  }
  return text.at == text.end;
}

void exports_truststram_policy_lifecycle_describe(
    exports_truststram_policy_lifecycle_plugin_info_t *info) {
  selector_string_dup(&info->name, "{{name}}");
  selector_string_dup(&info->version, "0.1.0");
  selector_string_dup(&info->summary, "the clients with the most samples");
}

bool exports_truststram_policy_lifecycle_configure(
    selector_string_t *settings, exports_truststram_policy_lifecycle_error_t *error) {
  const char *begin = (const char *)settings->ptr;
  bool is_good = read_settings((text_t){begin, begin + settings->len});
  selector_string_free(settings);
  if (!is_good) {
    error->tag = TRUSTSTRAM_POLICY_TYPES_ERROR_INVALID_CONFIG;
    selector_string_dup(&error->val.invalid_config,
                      "the settings are `batch_size`, a whole number from 1 to 65536, "
                        "and `epochs`, a whole number from 1 to 1000");
  }
  return is_good;
}

// There is nothing to carry over to a newer version.
void exports_truststram_policy_lifecycle_snapshot(selector_list_u8_t *state) {
  state->ptr = NULL;
  state->len = 0;
}

bool exports_truststram_policy_lifecycle_restore(
    selector_list_u8_t *state, exports_truststram_policy_lifecycle_error_t *error) {
  (void)error;
  selector_list_u8_free(state);
  return true;
}

typedef struct {
  uint64_t samples;
  size_t index;
} client_t;

// For `qsort`, which is not stable: equal clients stay in the host's order by their index.
static int compare(const void *left, const void *right) {
  const client_t *a = left, *b = right;
  if (a->samples != b->samples) return a->samples > b->samples ? -1 : 1;
  return a->index < b->index ? -1 : 1;
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

static selector_list_u32_t repeat(uint32_t value, size_t count) {
  selector_list_u32_t list = {allocate(count * sizeof value), count};
  for (size_t at = 0; at < count; at++) list.ptr[at] = value;
  return list;
}

bool exports_truststram_policy_selection_select(
    exports_truststram_policy_selection_round_request_t *request,
    exports_truststram_policy_selection_client_columns_t *clients,
    exports_truststram_policy_selection_assignment_columns_t *chosen,
    exports_truststram_policy_selection_error_t *error) {
  size_t found = clients->ids.len;
  size_t count = found < request->clients_max ? found : request->clients_max;
  bool is_good = count >= request->clients_min;
  if (is_good) {
    client_t *by_samples = allocate(found * sizeof *by_samples);
    for (size_t index = 0; index < found; index++) {
      by_samples[index] = (client_t){clients->samples.ptr[index], index};
    }
    qsort(by_samples, found, sizeof *by_samples, compare);
    chosen->ids = repeat(0, count);
    for (size_t at = 0; at < count; at++) {
      chosen->ids.ptr[at] = clients->ids.ptr[by_samples[at].index];
    }
    chosen->batch_sizes = repeat(batch_size, count);
    chosen->local_epochs = repeat(epochs, count);
    free(by_samples);
  } else {
    char reason[64] = "there are only ";
    append_whole(reason, count);
    strcat(reason, " clients");
    error->tag = TRUSTSTRAM_POLICY_TYPES_ERROR_UNSUPPORTED;
    selector_string_dup(&error->val.unsupported, reason);
  }
  exports_truststram_policy_selection_client_columns_free(clients);
  return is_good;
}
