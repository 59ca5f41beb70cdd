/* Steps that the session tests share. */
#ifndef EDGECOMP_TESTS_RUNTIME_SESSION_HELPERS_H
#define EDGECOMP_TESTS_RUNTIME_SESSION_HELPERS_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"

/* Run the demo model on the input of a seed, and compare all outputs with the reference. */
void run_and_compare(ec_session *session, uint32_t seed);

/* Fill the inputs. */
void set_inputs(ec_session *session, uint32_t seed);

/* Compare the outputs as they are. */
void compare_outputs(const ec_session *session, uint32_t seed);

/* A model is not opened, and the message has a part. */
void check_refused(const ec_model *model, const char *part);

#endif /* EDGECOMP_TESTS_RUNTIME_SESSION_HELPERS_H */
