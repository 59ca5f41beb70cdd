#include "host/weights.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "core/message.h"
#include "core/xxh3.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "platform/file_map.h"

/* What is to be used, before it is checked. */
typedef struct candidate {
  const char *label; /* for messages */
  const void *data;
  uint64_t bytes;
  ec_file_map map;
} candidate;

static ec_status from_file(const ec_open_options *options, candidate *out) {
  const char *reason = ec_file_map_open(options->weights_path, &out->map);
  if (reason != NULL) {
    return EC_FAIL(EC_ERROR_FILE, "weights file '%s': %s", options->weights_path, reason);
  }
  out->label = options->weights_path;
  out->data = out->map.data;
  out->bytes = out->map.bytes;
  return EC_OK;
}

static ec_status choose(const ec_model *model, const ec_open_options *options,
                        candidate *out) {
  if (options->weights != NULL) {
    out->label = "weights in memory";
    out->data = options->weights;
    out->bytes = options->weights_bytes;
    return EC_OK;
  }
  if (options->weights_path != NULL) {
    return from_file(options, out);
  }
  if (model->embedded_weights == NULL && model->weights_bytes != 0) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "model '%s' keeps its weights in a file ('%s'): give it",
                   model->name, model->weights_file != NULL ? model->weights_file : "");
  }
  out->label = "embedded weights";
  out->data = model->embedded_weights;
  out->bytes = model->weights_bytes;
  return EC_OK;
}

static ec_status check(const ec_model *model, const ec_open_options *options,
                       const candidate *found) {
  if (!ec_is_aligned(found->data)) { /* files and embedded weights always are */
    return EC_FAIL(EC_ERROR_ARGUMENT, "the weights in memory are not aligned to %u bytes",
                   EC_ALIGNMENT_BYTES);
  }
  if (found->bytes != model->weights_bytes) {
    return EC_FAIL(EC_ERROR_WEIGHTS_BYTES,
                   "%s: %" PRIu64 " bytes, model '%s' has %" PRIu64 " bytes of weights",
                   found->label, found->bytes, model->name, model->weights_bytes);
  }
  if (options->skip_hash == 0 && found->bytes != 0) {
    ec_file_map_fetch(&found->map);
    uint64_t hash = ec_xxh3(found->data, found->bytes);
    if (hash != model->weights_hash) {
      return EC_FAIL(EC_ERROR_WEIGHTS_HASH,
                     "%s: contents are not those of model '%s' (hash %016" PRIx64
                     ", expected %016" PRIx64 ")",
                     found->label, model->name, hash, model->weights_hash);
    }
  }
  return EC_OK;
}

ec_status ec_weights_open(const ec_model *model, const ec_open_options *options,
                          ec_weights *out_weights) {
  candidate found = {0};
  ec_status status = choose(model, options, &found);
  if (status != EC_OK) {
    return status;
  }
  status = check(model, options, &found);
  if (status != EC_OK) {
    ec_file_map_close(&found.map);
    return status;
  }
  out_weights->data = found.data;
  out_weights->map = found.map;
  return EC_OK;
}

void ec_weights_close(ec_weights *weights) {
  ec_file_map_close(&weights->map);
  weights->data = NULL;
}
