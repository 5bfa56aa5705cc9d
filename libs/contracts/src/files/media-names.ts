const MEDIA =
  /\.(jpe?g|jpe|jfif|png|gif|webp|tiff?|bmp|heic|heif|avif|wav|wave|flac|mp3|ogg|oga|opus|m4a|aac|aiff?)$/i;

/** Whether a file's name is one of a picture or a sound, be it of a kind that is taken or not. */
export const isNamedMedia = (name: string): boolean => MEDIA.test(name);
