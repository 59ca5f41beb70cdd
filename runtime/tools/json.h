/* JSON on standard output, written as it comes. Commas are put in by themselves.
 *
 *   json_open(NULL, '{'); json_text("name", "demo"); json_close('}'); json_end();
 *
 * Keys are NULL inside arrays.
 */
#ifndef EDGECOMP_TOOLS_JSON_H
#define EDGECOMP_TOOLS_JSON_H

#include <stdint.h>

/* Start an object or array: '{' or '['. */
void json_open(const char *key, char bracket);

/* End it: '}' or ']'. */
void json_close(char bracket);

void json_text(const char *key, const char *value);
void json_unsigned(const char *key, uint64_t value);
void json_signed(const char *key, int64_t value);
void json_unsigned_array(const char *key, const uint64_t *values, uint64_t count);

/* End of the document: a line break, and everything is sent. */
void json_end(void);

#endif /* EDGECOMP_TOOLS_JSON_H */
