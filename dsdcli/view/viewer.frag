#version 300 es
precision highp float; precision highp int; precision highp usampler3D;
uniform usampler3D voxels;
uniform sampler2D table;  // colour of each phase; alpha: whether it is shown
uniform mat3 frame;       // right, up, towards the eye, in voxels (x, y, z)
uniform vec2 origin;      // pixel that shows the middle of the volume
uniform float scale;      // voxels a pixel
uniform ivec3 cut;
uniform int mode, finer;  // what is cut away; rays a pixel along either side
uniform vec3 lamp;        // unit vector
uniform vec3 shading;     // light from everywhere, from the lamp; depth of the fade, in voxels
out vec4 result;

vec4 phaseAt(ivec3 cell) { return texelFetch(table, ivec2(texelFetch(voxels, cell, 0).r, 0), 0); }

bool gone(ivec3 c) {
  bvec3 beyond = bvec3(c.x >= cut.x, c.y >= cut.y, c.z < cut.z);
  if (mode == 0) return all(beyond);
  if (mode == 1) return any(beyond);
  return mode == 2 && all(notEqual(c, min(cut, textureSize(voxels, 0) - 1)));
}

vec3 smoothNormal(vec3 at) {  // down the gradient of the smoothed density of what is shown
  ivec3 middle = ivec3(floor(at)), last = textureSize(voxels, 0) - 1;
  vec3 sum = vec3(0);
  for (int z = -2; z <= 2; z++) for (int y = -2; y <= 2; y++) for (int x = -2; x <= 2; x++) {
    ivec3 cell = middle + ivec3(x, y, z);
    vec3 apart = vec3(cell) + 0.5 - at;
    float weight = max(0.0, 1.0 - dot(apart, apart) / 6.25);  // 0 where the 5x5x5 voxels end
    sum -= phaseAt(clamp(cell, ivec3(0), last)).a * weight * weight * apart;
  }
  return sum / max(length(sum), 1e-6);
}

vec4 ray(vec2 pixel) {  // from voxel to voxel: Amanatides and Woo, 1987
  ivec3 shape = textureSize(voxels, 0);
  vec2 place = (pixel - origin) * scale;
  vec3 start = 0.5 * vec3(shape) + place.x * frame[0] + place.y * frame[1], away = -frame[2];
  away = mix(away, vec3(1e-6), lessThan(abs(away), vec3(1e-6)));
  vec3 one = -start / away, two = (vec3(shape) - start) / away, near = min(one, two), far = max(one, two);
  float t = max(near.x, max(near.y, near.z)), since = t;
  if (t >= min(far.x, min(far.y, far.z))) return vec4(0);
  int axis = t == near.x ? 0 : t == near.y ? 1 : 2;
  ivec3 move = ivec3(sign(away)), cell = clamp(ivec3(floor(start + t * away)), ivec3(0), shape - 1);
  cell[axis] = move[axis] > 0 ? 0 : shape[axis] - 1;
  vec3 across = (vec3(cell) + step(0.0, away) - start) / away, more = abs(1.0 / away);
  while (all(greaterThanEqual(cell, ivec3(0))) && all(lessThan(cell, shape))) {
    bool missing = gone(cell);
    vec4 colour = phaseAt(cell);
    if (!missing && colour.a > 0.5) {
      vec3 normal = vec3(0);
      if (t > since) normal = smoothNormal(start + t * away);
      else normal[axis] = -float(move[axis]);
      float light = shading.x + shading.y * max(dot(normal, lamp), 0.0);
      return vec4(colour.rgb * min(light * exp((since - t) / shading.z), 1.0), 1);
    }
    axis = across.x < across.y ? (across.x < across.z ? 0 : 2) : (across.y < across.z ? 1 : 2);
    t = across[axis];
    across[axis] += more[axis];
    cell[axis] += move[axis];
    if (missing) since = t;
  }
  return vec4(0);
}

void main() {
  result = vec4(0);
  for (int y = 0; y < finer; y++) for (int x = 0; x < finer; x++)
    result += ray(gl_FragCoord.xy - 0.5 + (vec2(x, y) + 0.5) / float(finer));
  result /= float(finer * finer);
}
