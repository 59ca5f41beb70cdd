/* The processor features that a model asks for. */
#ifndef EDGECOMP_SRC_CORE_FEATURES_H
#define EDGECOMP_SRC_CORE_FEATURES_H

#include <stddef.h>
#include <stdint.h>

/* The first name in `required` (comma separated, as in a target file) that is not among the
 * bits of `available`; names nobody knows are never available. Returns its length and sets
 * *out_name to it inside `required`, or returns 0 when nothing is missing. */
size_t ec_feature_missing(const char *required, uint32_t available, const char **out_name);

#endif /* EDGECOMP_SRC_CORE_FEATURES_H */
