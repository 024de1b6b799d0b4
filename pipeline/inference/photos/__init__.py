"""Label single images, folders of photographs, and features by their images, with a model for scenes."""
