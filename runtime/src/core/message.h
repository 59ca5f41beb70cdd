/* The text behind a failing status, kept per thread.
 *
 *   return EC_FAIL(EC_ERROR_FILE, "weights file '%s': %s", path, reason);
 *
 * Built with EC_NO_MESSAGES, the texts and their formatting are not in the library.
 */
#ifndef EDGECOMP_SRC_CORE_MESSAGE_H
#define EDGECOMP_SRC_CORE_MESSAGE_H

/* Longer messages are cut. */
#define EC_MESSAGE_BYTES 512

#if defined(__GNUC__) || defined(__clang__)
#define EC_PRINTF_LIKE __attribute__((format(printf, 1, 2)))
#else
#define EC_PRINTF_LIKE
#endif

/* Replace the calling thread's message. Always returns 0, so that it can stand in EC_FAIL. */
int ec_message_set(const char *format, ...) EC_PRINTF_LIKE;

#ifdef EC_NO_MESSAGES
/* sizeof checks the arguments against the format and evaluates nothing. */
#define EC_FAIL(status, ...) ((void)sizeof(ec_message_set(__VA_ARGS__)), (status))
#else
#define EC_FAIL(status, ...) ((void)ec_message_set(__VA_ARGS__), (status))
#endif

#endif /* EDGECOMP_SRC_CORE_MESSAGE_H */
