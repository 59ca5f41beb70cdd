/* Open options, checked and filled in. */
#ifndef EDGECOMP_SRC_HOST_OPTIONS_H
#define EDGECOMP_SRC_HOST_OPTIONS_H

#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

/* Copy the options (NULL: defaults) with `threads` at least 1. EC_ERROR_ARGUMENT or
 * EC_ERROR_VERSION when they cannot be used. */
ec_status ec_options_resolve(const ec_open_options *options, ec_open_options *out_options);

/* Whether the device that they name is one of this checked model's calls.
 * EC_ERROR_ARGUMENT. */
ec_status ec_options_check_device(const ec_model *model, const ec_open_options *options);

#endif /* EDGECOMP_SRC_HOST_OPTIONS_H */
