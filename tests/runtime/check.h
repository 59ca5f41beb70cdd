/* Checks for the C tests: the first that fails ends the program. */
#ifndef EDGECOMP_TESTS_RUNTIME_CHECK_H
#define EDGECOMP_TESTS_RUNTIME_CHECK_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgecomp/edgecomp.h"

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                        \
    }                                                                                 \
  } while (0)

#define CHECK_EQUAL(expected, actual)                                                \
  do {                                                                               \
    uint64_t expected_ = (uint64_t)(expected);                                       \
    uint64_t actual_ = (uint64_t)(actual);                                           \
    if (expected_ != actual_) {                                                      \
      (void)fprintf(stderr, "%s:%d: %s is %" PRIu64 ", not %" PRIu64 "\n", __FILE__, \
                    __LINE__, #actual, actual_, expected_);                          \
      exit(1);                                                                       \
    }                                                                                \
  } while (0)

#define CHECK_STATUS(expected, actual)                                                        \
  do {                                                                                        \
    ec_status status_ = (actual);                                                             \
    if (status_ != (expected)) {                                                              \
      (void)fprintf(stderr, "%s:%d: %s gives %s (%s), not %s\n", __FILE__, __LINE__, #actual, \
                    ec_status_name(status_), ec_last_message(), ec_status_name(expected));    \
      exit(1);                                                                                \
    }                                                                                         \
  } while (0)

/* The last message contains `part`; nothing to check in builds without messages. */
#ifdef EC_NO_MESSAGES
#define CHECK_MESSAGE(part) CHECK((part) != NULL && ec_last_message()[0] == '\0')
#else
#define CHECK_MESSAGE(part)                                                         \
  do {                                                                              \
    if (strstr(ec_last_message(), (part)) == NULL) {                                \
      (void)fprintf(stderr, "%s:%d: message '%s' lacks '%s'\n", __FILE__, __LINE__, \
                    ec_last_message(), (part));                                     \
      exit(1);                                                                      \
    }                                                                               \
  } while (0)
#endif

#endif /* EDGECOMP_TESTS_RUNTIME_CHECK_H */
