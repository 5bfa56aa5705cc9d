const MEDIA =
  /\.(jpe?g|jpe|jfif|png|gif|webp|tiff?|bmp|heic|heif|avif|wav|wave|flac|mp3|ogg|oga|opus|m4a|aac|aiff?)$/i;

/** Whether a file name has an image or audio extension, whether Graft supports the format or not. */
export const isNamedMedia = (name: string): boolean => MEDIA.test(name);
