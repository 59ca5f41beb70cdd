#include "json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Whether a comma is due before the next value. One document is written at a time. */
static bool comma_due;

static void write_string(const char *text) {
  (void)putchar('"');
  for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; ++at) {
    if (*at == '"' || *at == '\\') {
      (void)printf("\\%c", *at);
    } else if (*at < 0x20) {
      (void)printf("\\u%04x", *at);
    } else {
      (void)putchar(*at); /* UTF-8 as it is */
    }
  }
  (void)putchar('"');
}

static void start_value(const char *key) {
  if (comma_due) {
    (void)putchar(',');
  }
  if (key != NULL) {
    write_string(key);
    (void)putchar(':');
  }
  comma_due = true;
}

void json_open(const char *key, char bracket) {
  start_value(key);
  (void)putchar(bracket);
  comma_due = false;
}

void json_close(char bracket) {
  (void)putchar(bracket);
  comma_due = true;
}

void json_text(const char *key, const char *value) {
  start_value(key);
  write_string(value);
}

void json_unsigned(const char *key, uint64_t value) {
  start_value(key);
  (void)printf("%" PRIu64, value);
}

void json_signed(const char *key, int64_t value) {
  start_value(key);
  (void)printf("%" PRId64, value);
}

void json_unsigned_array(const char *key, const uint64_t *values, uint64_t count) {
  json_open(key, '[');
  for (uint64_t i = 0; i < count; ++i) {
    json_unsigned(NULL, values[i]);
  }
  json_close(']');
}

void json_end(void) {
  (void)putchar('\n');
  (void)fflush(stdout);
  comma_due = false;
}
