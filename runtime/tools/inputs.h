/* Contents of the model's inputs, kept to fill them in again before each run. */
#ifndef EDGECOMP_TOOLS_INPUTS_H
#define EDGECOMP_TOOLS_INPUTS_H

#include "arguments.h"
#include "edgecomp/edgecomp.h"
#include "files.h"

/* One for each input, from malloc. */
typedef struct input_set {
  file_contents *contents;
} input_set;

/* Set the shapes that were given, and read or make up every input; ends the process when one
 * is missing, unknown or of the wrong size. */
input_set inputs_load(ec_session *session, const arguments *from);

/* Copy all of them into the session. */
void inputs_set(const input_set *inputs, ec_session *session);

void inputs_free(input_set *inputs, const ec_model *model);

#endif /* EDGECOMP_TOOLS_INPUTS_H */
